//! An enum of modules that adds nothing to the names of the parameters inside it.

/// Implements `Module` and its display for an enum with one module a variant.
///
/// `#[derive(Module)]` on an enum puts the variant's name into every parameter's path; names here are those of
/// the published state dictionaries, so the enum must not show.
macro_rules! transparent_module {
    ($name:ident { $($variant:ident),+ $(,)? }) => {
        impl burn::module::Module for $name {
            fn collect_devices(&self, devices: burn::module::Devices) -> burn::module::Devices {
                match self { $(Self::$variant(module) => module.collect_devices(devices)),+ }
            }

            fn fork(self, device: &burn::tensor::Device) -> Self {
                match self { $(Self::$variant(module) => Self::$variant(module.fork(device))),+ }
            }

            fn to_device(self, device: &burn::tensor::Device) -> Self {
                match self { $(Self::$variant(module) => Self::$variant(module.to_device(device))),+ }
            }

            fn train(self) -> Self {
                match self { $(Self::$variant(module) => Self::$variant(burn::module::Module::train(module))),+ }
            }

            fn valid(&self) -> Self {
                match self { $(Self::$variant(module) => Self::$variant(burn::module::Module::valid(module))),+ }
            }

            fn materialize(self) -> Self {
                match self { $(Self::$variant(module) => Self::$variant(module.materialize())),+ }
            }

            fn num_params(&self) -> usize {
                match self { $(Self::$variant(module) => burn::module::Module::num_params(module)),+ }
            }

            fn visit<V: burn::module::ModuleVisitor>(&self, visitor: &mut V) {
                match self { $(Self::$variant(module) => module.visit(visitor)),+ }
            }

            fn map<M: burn::module::ModuleMapper>(self, mapper: &mut M) -> Self {
                match self { $(Self::$variant(module) => Self::$variant(burn::module::Module::map(module, mapper))),+ }
            }
        }

        impl burn::module::ModuleDisplayDefault for $name {
            fn content(&self, content: burn::module::Content) -> Option<burn::module::Content> {
                match self { $(Self::$variant(module) => module.content(content)),+ }
            }

            fn num_params(&self) -> usize {
                burn::module::Module::num_params(self)
            }
        }

        impl burn::module::ModuleDisplay for $name {}

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(&burn::module::ModuleDisplay::format(self, Default::default()))
            }
        }
    };
}

pub(crate) use transparent_module;
