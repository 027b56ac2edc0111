#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::io::Write;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use opticus_pixels::geometry::Size;
use proptest::prelude::*;

use super::*;
use crate::nets::{NetKind, Stem};

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_bytes!(concat!("../../../tests/golden/weights/", $name)).as_slice())),+]
    };
}

/// Written by PyTorch and safetensors; `tools/reference/weights.py`.
const GOOD: &[(&str, &[u8])] = &files![
    "plain.zip.pt",
    "plain.legacy.pth",
    "half.zip.pt",
    "half.legacy.pth",
    "bfloat16.zip.pt",
    "bfloat16.legacy.pth",
    "double.zip.pt",
    "double.legacy.pth",
    "long.zip.pt",
    "long.legacy.pth",
    "int.zip.pt",
    "int.legacy.pth",
    "short.zip.pt",
    "short.legacy.pth",
    "char.zip.pt",
    "char.legacy.pth",
    "byte.zip.pt",
    "byte.legacy.pth",
    "transposed.zip.pt",
    "transposed.legacy.pth",
    "windows.zip.pt",
    "windows.legacy.pth",
    "parameter.zip.pt",
    "parameter.legacy.pth",
    "wrapped.zip.pt",
    "wrapped.legacy.pth",
    "protocol4.zip.pt",
    "protocol4.legacy.pth",
    "deflated.zip.pt",
    "plain.safetensors",
];
const PROGRAMS: &[(&str, &[u8])] = &files!["program.zip.pt", "program.legacy.pth"];

const T: [f32; 6] = [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0];

fn good(name: &str) -> &'static [u8] {
    GOOD.iter().find(|file| file.0 == name).unwrap().1
}

fn refusal(bytes: &[u8]) -> String {
    match read_weights(bytes) {
        Err(Error::ModelFile(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_layout_gives_the_same_tensor() {
    for (name, bytes) in GOOD {
        let map = read_weights(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let tensor =
            map.get("t").or(map.get("module.t")).unwrap_or_else(|| panic!("{name}: {:?}", map.keys()));
        assert_eq!(tensor.shape, [2, 3], "{name}");
        let shift = if name.starts_with("byte") { -2.0 } else { 0.0 };
        let values: Vec<f32> = tensor.data.iter().map(|v| v + shift).collect();
        assert_eq!(values, T, "{name}");
    }
}

#[test]
fn shared_storages_scalars_and_empty_tensors_come_out() {
    for suffix in ["zip.pt", "legacy.pth"] {
        let map = read_weights(good(&format!("windows.{suffix}"))).unwrap();
        assert_eq!(map["u"].data, [-7.0, -4.0, -1.0, 2.0, 5.0, 8.0, 11.0]);
        let map = read_weights(good(&format!("parameter.{suffix}"))).unwrap();
        assert_eq!((map["scalar"].shape.len(), &map["scalar"].data[..]), (0, &[4.0][..]));
        assert_eq!(map["empty"].shape, [0, 3]);
        let map = read_weights(good(&format!("wrapped.{suffix}"))).unwrap();
        assert_eq!(map.len(), 1, "an optimiser's tensors are no weights");
    }
}

#[test]
fn code_is_refused_by_name() {
    for (name, bytes) in PROGRAMS {
        let message = refusal(bytes);
        assert!(
            message.contains("`posix.system`") && message.contains("nothing of it was run"),
            "{name}: {message}"
        );
    }
}

#[test]
fn files_cut_anywhere_are_errors() {
    for (name, bytes) in GOOD {
        for length in 0..bytes.len() {
            // A legacy file is whole once its last storage is; nothing follows it.
            assert!(read_weights(&bytes[..length]).is_err(), "{name} cut to {length}");
        }
    }
}

#[test]
fn other_files_are_refused_with_a_reason() {
    assert!(refusal(b"").contains("neither"));
    assert!(refusal(b"\x89PNG\r\n\x1a\n").contains("neither"));
    assert!(refusal(b"PK\x05\x06").contains("damaged"));
    assert!(refusal(b"\x80\x02K\x01.").contains("not one that PyTorch wrote"));
    // A safetensors header of an impossible length.
    assert!(refusal(b"\xff\xff\xff\xff\xff\xff\xff\x7f{}").contains("neither"));
}

#[test]
fn values_that_are_not_finite_are_refused() {
    let bytes = good("plain.safetensors");
    let mut damaged = bytes.to_vec();
    let nan = f32::NAN.to_le_bytes();
    let last = damaged.len() - 4;
    damaged[last..].copy_from_slice(&nan);
    assert!(refusal(&damaged).contains("not finite"));
}

fn zip_of(name: &str, contents: &[u8], claimed: u32) -> Vec<u8> {
    let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
    packed.write_all(contents).unwrap();
    let packed = packed.finish().unwrap();
    let mut crc = Crc::new();
    crc.update(contents);
    let mut sizes = Vec::new();
    for number in [crc.sum(), packed.len() as u32, claimed] {
        sizes.extend(number.to_le_bytes());
    }
    let mut file = b"PK\x03\x04\x14\0\0\0\x08\0\0\0\0\0".to_vec();
    file.extend(&sizes);
    file.extend((name.len() as u16).to_le_bytes());
    file.extend([0, 0]);
    file.extend(name.as_bytes());
    file.extend(&packed);
    let directory = file.len() as u32;
    file.extend(b"PK\x01\x02\x14\0\x14\0\0\0\x08\0\0\0\0\0");
    file.extend(&sizes);
    file.extend((name.len() as u16).to_le_bytes());
    file.extend([0; 16]);
    file.extend(name.as_bytes());
    let length = file.len() as u32 - directory;
    file.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    file.extend(length.to_le_bytes());
    file.extend(directory.to_le_bytes());
    file.extend([0, 0]);
    file
}

#[test]
fn a_deflated_bomb_is_refused_before_it_unfolds() {
    let bomb = zip_of("archive/data.pkl", &vec![b'0'; 64 << 20], 64 << 20);
    assert!(bomb.len() < 1 << 20);
    assert!(refusal(&bomb).contains("unfolds to more"));
    // One that lies about its size is cut where it said it would end.
    assert!(refusal(&zip_of("archive/data.pkl", &vec![b'0'; 64 << 20], 100)).contains("checksum"));
}

#[test]
fn a_pickle_that_would_blow_up_a_tree_stays_small() {
    // Each of thirty lists holds the one before twice: 2^30 leaves if anyone walked them.
    let mut bytes = b"\x80\x02]q\0".to_vec();
    for slot in 0..30u8 {
        bytes.extend([b'h', slot, b'h', slot, 0x86, b'q', slot + 1]);
    }
    bytes.push(b'.');
    let pickled = pickle::Reader::new(&bytes).pickle().unwrap();
    assert!(pickled.tensors().is_err());
}

#[test]
fn instructions_out_of_order_are_errors() {
    let streams: [&[u8]; 9] =
        [b".", b"0.", b"t.", b"h\x07.", b"}(K\x01u.", b"(0.", b"R.", b"Q.", b"\x8a\xff\0"];
    for bytes in streams {
        assert!(pickle::Reader::new(bytes).pickle().is_err(), "{bytes:?}");
    }
}

#[derive(Clone, Debug)]
enum Damage {
    Set(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Repeat(prop::sample::Index, prop::sample::Index),
    Word(prop::sample::Index, u32),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        1 => any::<prop::sample::Index>().prop_map(Damage::Cut),
        1 => any::<(prop::sample::Index, prop::sample::Index)>().prop_map(|(a, b)| Damage::Repeat(a, b)),
        2 => (any::<prop::sample::Index>(), prop::sample::select(vec![0, u32::MAX, 1 << 31, 1 << 16]))
            .prop_map(|(at, word)| Damage::Word(at, word)),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: Damage) {
    if bytes.len() < 8 {
        return;
    }
    match damage {
        Damage::Set(at, byte) => {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
        Damage::Repeat(from, to) => {
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            let piece = bytes[from..(from + 40).min(bytes.len())].to_vec();
            bytes.splice(to..to, piece);
        }
        Damage::Word(at, word) => {
            let at = at.index(bytes.len() - 4);
            bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
    }
}

fn check_bounded(bytes: &[u8]) {
    if let Ok(map) = read_weights(bytes) {
        let numbers: usize = map.values().map(|tensor| tensor.data.len()).sum();
        assert!(numbers <= 2 * bytes.len() + (1 << 16));
        for tensor in map.values() {
            assert_eq!(tensor.shape.iter().product::<usize>(), tensor.data.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_never_panic(
        file in 0..GOOD.len() + PROGRAMS.len(),
        damages in prop::collection::vec(damage(), 1..6),
    ) {
        let mut bytes = GOOD.iter().chain(PROGRAMS).nth(file).unwrap().1.to_vec();
        damages.into_iter().for_each(|damage| apply(&mut bytes, damage));
        check_bounded(&bytes);
    }

    /// Without the archive's checksum in the way: the pickle of a legacy file, and instructions in any order.
    #[test]
    fn damaged_pickles_never_panic(
        start in any::<prop::sample::Index>(),
        instructions in prop::collection::vec(
            prop::sample::select(b"(01NJKMGXcRbQqrhj)]}ta esu.\x80\x85\x86\x87\x88\x8a\x8c\x93\x94\x95\x00\x01\x02".to_vec()),
            0..200,
        ),
    ) {
        let legacy = good("windows.legacy.pth");
        let mut bytes = legacy[..start.index(legacy.len())].to_vec();
        bytes.extend(&instructions);
        check_bounded(&bytes);
        if let Ok(pickled) = pickle::Reader::new(&instructions).pickle() {
            let _ = (pickled.tensors(), pickled.texts(), pickled.int(), pickled.flag("little_endian"));
        }
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), magic in 0..4usize) {
        let mut file = [&b""[..], b"PK\x03\x04", b"\x80\x02\x8a\x0a", b"\x10\0\0\0\0\0\0\0{"][magic].to_vec();
        file.extend(bytes);
        check_bounded(&file);
    }
}

fn map_of(names: &[(&str, &[usize])]) -> TensorMap {
    let zeros = |shape: &[usize]| HostTensor { shape: shape.into(), data: vec![0.0; shape.iter().product()] };
    names.iter().map(|(name, shape)| ((*name).to_string(), zeros(shape))).collect()
}

#[test]
fn wrappers_come_off_and_the_configuration_is_inferred() {
    let weights = map_of(&[
        ("_orig_mod.module.conv1.weight", &[64, 1, 3, 3]),
        ("_orig_mod.module.bn1.num_batches_tracked", &[]),
        ("_orig_mod.module.fc.weight", &[37, 512]),
    ]);
    let imported = adapt(weights, NetKind::Resnet18, Size::new(64, 48)).unwrap();
    assert_eq!(imported.weights.keys().collect::<Vec<_>>(), ["conv1.weight", "fc.weight"]);
    let config = imported.config;
    assert_eq!((config.classes, config.in_channels, config.stem), (37, 1, Stem::Small));
    assert_eq!((config.input, imported.origin), (Size::new(64, 48), Origin::Torchvision));
}

#[test]
fn a_prefix_that_some_names_lack_stays() {
    let weights = map_of(&[("module.conv1.weight", &[64, 3, 7, 7]), ("fc.weight", &[10, 512])]);
    let Err(Error::ModelFile(message)) = adapt(weights, NetKind::Resnet18, Size::new(64, 64)) else {
        panic!()
    };
    assert!(message.contains("not those of a resnet18") && message.contains("`conv1.weight`"), "{message}");
}

#[test]
fn caffes_squeezenet_gets_torchvisions_names() {
    let mut names: Vec<String> = ["conv1", "conv_final"].map(String::from).into();
    for fire in 2..=9 {
        names.extend(["conv1x1_1", "conv1x1_2", "conv3x3_2"].map(|part| format!("fire{fire}/{part}")));
    }
    let zero =
        |name: &String| (format!("{name}.weight"), HostTensor { shape: vec![1000, 3, 7, 7], data: vec![] });
    let imported =
        adapt(names.iter().map(zero).collect(), NetKind::Squeezenet1_0, Size::new(227, 227)).unwrap();
    assert_eq!((imported.origin, imported.config.classifier_padding), (Origin::CaffeSqueezenet, 1));
    let net = imported.config.blank(&burn::tensor::Device::flex()).unwrap();
    let mut ours = BTreeSet::new();
    crate::nets::state::visit_parameters(&net, |name, _| {
        if name.ends_with(".weight") {
            ours.insert(name.to_string());
        }
    });
    assert_eq!(imported.weights.into_keys().collect::<BTreeSet<_>>(), ours);
}

#[test]
fn inceptions_auxiliary_classifier_stays_behind_and_its_outputs_tell_the_pools() {
    for (outputs, fid) in [(1000, false), (1008, true)] {
        let weights = map_of(&[
            ("Conv2d_1a_3x3.conv.weight", &[32, 3, 3, 3]),
            ("AuxLogits.fc.weight", &[outputs, 768]),
            ("fc.weight", &[outputs, 2048]),
        ]);
        let imported = adapt(weights, NetKind::InceptionV3, Size::new(299, 299)).unwrap();
        assert_eq!(imported.weights.keys().collect::<Vec<_>>(), ["Conv2d_1a_3x3.conv.weight", "fc.weight"]);
        assert_eq!((imported.config.classes, imported.config.fid_pools), (outputs, fid));
    }
}
