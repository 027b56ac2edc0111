//! The name of a parameter: the path of fields and list indices that leads to it.

/// Where a visitor of a module stands.
#[derive(Debug, Default)]
pub(super) struct Names {
    path: Vec<String>,
    /// For every container entered, whether it counts: an enum's variant is on the way but not in the name.
    entered: Vec<bool>,
}

impl Names {
    /// To be called by `enter_module`.
    pub(super) fn enter(&mut self, name: &str, container: &str) {
        let counts = !container.starts_with("Enum:");
        if counts {
            self.path.push(name.to_string());
        }
        self.entered.push(counts);
    }

    /// To be called by `exit_module`.
    pub(super) fn exit(&mut self) {
        if self.entered.pop() == Some(true) {
            self.path.pop();
        }
    }

    /// The name of the parameter here, such as `layer1.0.conv1.weight`.
    pub(super) fn here(&self) -> String {
        self.path.join(".")
    }
}
