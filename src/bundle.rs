//! The model file: tensors plus one JSON card.
