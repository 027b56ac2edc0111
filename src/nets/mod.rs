//! Layers, backbones, foreign weight names.
