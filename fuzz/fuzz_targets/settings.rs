//! Any text as a configuration file and as overrides.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opticus::classify::config::TrainConfig;
use opticus::settings::Draft;

fuzz_target!(|text: &str| {
    if let Ok(draft) = Draft::from_text(text, "fuzz") {
        let _ = TrainConfig::from_draft(draft);
    }
    let mut draft = Draft::new();
    if text.lines().all(|line| draft.set_text(line).is_ok()) {
        let _ = TrainConfig::from_draft(draft);
    }
});
