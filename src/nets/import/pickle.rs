//! Python's pickle, as far as a dictionary of tensors needs it.
//!
//! A pickle is a program for a stack machine that can call any Python function. This reader is the machine
//! without the calls: it knows containers, numbers, strings, and the handful of constructors that PyTorch uses
//! for tensors; every other name is refused. Values live in one list and refer to each other by index, so a
//! shared, deep or cyclic structure costs nothing to hold, copy or drop.

use std::collections::{BTreeMap, HashMap};

use super::storage::{Budget, ElementKind, Window};
use crate::tensors::HostTensor;

/// Index of a value.
type Id = usize;

/// The constructors we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Global {
    OrderedDict,
    Size,
    RebuildTensor,
    RebuildTensorV2,
    RebuildParameter,
    Storage(ElementKind),
}

impl Global {
    fn resolve(module: &str, name: &str) -> Result<Self, String> {
        let known = match (module, name) {
            ("collections", "OrderedDict") => Some(Self::OrderedDict),
            ("torch", "Size") => Some(Self::Size),
            ("torch._utils", "_rebuild_tensor") => Some(Self::RebuildTensor),
            ("torch._utils", "_rebuild_tensor_v2") => Some(Self::RebuildTensorV2),
            ("torch._utils", "_rebuild_parameter") => Some(Self::RebuildParameter),
            ("torch", class) => ElementKind::from_class(class).map(Self::Storage),
            _ => None,
        };
        known.ok_or_else(|| {
            let name: String = format!("{module}.{name}").chars().take(100).collect();
            format!(
                "the file asks for `{}`, which is no part of a dictionary of tensors; nothing of it was run. Save \
                 the weights alone, with torch.save(model.state_dict(), file), or as safetensors",
                name.escape_debug()
            )
        })
    }
}

/// A flat array elsewhere in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct StorageRef<'a> {
    /// Type of its numbers.
    pub kind: ElementKind,
    /// Its name.
    pub key: &'a str,
    /// How many numbers it claims to hold.
    pub count: usize,
    /// Where in it the numbering of elements begins (legacy files only).
    pub base: usize,
}

/// A tensor before its numbers are read.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorRef<'a> {
    /// The array it lies in.
    pub storage: StorageRef<'a>,
    /// Where.
    pub window: Window,
}

impl TensorRef<'_> {
    /// The tensor, with the arrays' bytes at hand.
    pub fn read<B: AsRef<[u8]>>(
        &self,
        name: &str,
        storages: &BTreeMap<&str, B>,
        budget: &mut Budget,
    ) -> Result<HostTensor, String> {
        let StorageRef { kind, key, count, .. } = self.storage;
        let claimed = count.checked_mul(kind.bytes());
        let bytes = storages.get(key).map(AsRef::as_ref);
        let storage = bytes.zip(claimed).and_then(|(bytes, claimed)| bytes.get(..claimed));
        let storage = storage.ok_or_else(|| format!("the numbers of `{name}` are missing or cut short"))?;
        self.window.read(name, kind, storage, budget)
    }
}

#[derive(Clone, Debug)]
enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than eight bytes.
    Long(&'a [u8]),
    /// A number or byte string that nothing here needs.
    Ignored,
    Text(&'a str),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(StorageRef<'a>),
    Tensor(TensorRef<'a>),
}

/// What a pickle described.
#[derive(Debug)]
pub struct Pickled<'a> {
    values: Vec<Value<'a>>,
    root: Id,
}

/// More axes than any layer has.
const MAX_AXES: usize = 8;
/// Dictionaries inside dictionaries on the way to the state.
const MAX_NESTING: usize = 4;
/// Where training scripts put the state.
const WRAPPERS: [&str; 7] =
    ["state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights"];

impl<'a> Pickled<'a> {
    /// Whether the value is an integer of exactly these little-endian bytes.
    pub fn is_long(&self, bytes: &[u8]) -> bool {
        matches!(self.values.get(self.root), Some(Value::Long(found)) if *found == bytes)
    }

    /// The value, if it is an integer.
    pub fn int(&self) -> Option<i64> {
        self.as_int(self.root)
    }

    /// The strings of a list of strings.
    pub fn texts(&self) -> Option<Vec<&'a str>> {
        match self.values.get(self.root)? {
            Value::List(items) => items.iter().map(|&id| self.as_text(id)).collect(),
            _ => None,
        }
    }

    /// The boolean under `key` of a dictionary.
    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.values.get(self.entry(self.root, key)?)? {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// The named tensors of the state dictionary, which may lie under one of the usual keys.
    pub fn tensors(&self) -> Result<Vec<(&'a str, &TensorRef<'a>)>, String> {
        let mut dict = self.root;
        for _ in 0..MAX_NESTING {
            let found = self.named_tensors(dict)?;
            if !found.is_empty() {
                return Ok(found);
            }
            let inner = WRAPPERS.iter().find_map(|key| self.entry(dict, key));
            dict = inner.ok_or("the file holds no dictionary of tensors by name")?;
        }
        Err("the dictionary of tensors lies too deep inside other dictionaries".into())
    }

    /// Every flat array the pickle mentions.
    pub fn storages(&self) -> impl Iterator<Item = &StorageRef<'a>> {
        self.values.iter().filter_map(|value| match value {
            Value::Storage(storage) => Some(storage),
            _ => None,
        })
    }

    fn named_tensors(&self, dict: Id) -> Result<Vec<(&'a str, &TensorRef<'a>)>, String> {
        let Some(Value::Dict(entries)) = self.values.get(dict) else {
            return Err("the file holds something else than a dictionary of tensors".into());
        };
        let named = |&(key, value): &(Id, Id)| match (self.as_text(key), self.values.get(value)) {
            (Some(name), Some(Value::Tensor(tensor))) => Some((name, tensor)),
            _ => None,
        };
        Ok(entries.iter().filter_map(named).collect())
    }

    fn entry(&self, dict: Id, key: &str) -> Option<Id> {
        match self.values.get(dict)? {
            Value::Dict(entries) => {
                entries.iter().rev().find(|entry| self.as_text(entry.0) == Some(key)).map(|e| e.1)
            }
            _ => None,
        }
    }

    fn as_text(&self, id: Id) -> Option<&'a str> {
        match self.values.get(id)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn as_int(&self, id: Id) -> Option<i64> {
        match self.values.get(id)? {
            Value::Int(value) => Some(*value),
            _ => None,
        }
    }

    fn as_size(&self, id: Id) -> Option<usize> {
        self.as_int(id).and_then(|value| usize::try_from(value).ok())
    }

    fn as_tuple(&self, id: Id) -> Option<&[Id]> {
        match self.values.get(id)? {
            Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    fn as_sizes(&self, id: Id) -> Option<Vec<usize>> {
        let items = self.as_tuple(id).filter(|items| items.len() <= MAX_AXES)?;
        items.iter().map(|&id| self.as_size(id)).collect()
    }
}

/// Bytes from front to back.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

const CUT_SHORT: &str = "the file is cut short";

impl<'a> Reader<'a> {
    /// From the beginning of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(CUT_SHORT)?;
        self.bytes = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(CUT_SHORT)?;
        self.bytes = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.array().map(|[byte]| byte)
    }

    fn length<const N: usize>(&mut self) -> Result<usize, String> {
        let mut wide = [0; 8];
        wide.iter_mut().zip(self.array::<N>()?).for_each(|(to, from)| *to = from);
        usize::try_from(u64::from_le_bytes(wide)).map_err(|_| CUT_SHORT.into())
    }

    fn text(&mut self, length: usize) -> Result<&'a str, String> {
        std::str::from_utf8(self.take(length)?).map_err(|_| "a name in the file is not valid UTF-8".into())
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let length = self.bytes.iter().position(|&byte| byte == b'\n').ok_or(CUT_SHORT)?;
        let line = self.text(length)?;
        self.take(1)?;
        Ok(line)
    }

    /// Runs one pickle up to and including its end mark.
    pub fn pickle(&mut self) -> Result<Pickled<'a>, String> {
        let mut machine = Machine {
            heap: Pickled { values: Vec::new(), root: 0 },
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        loop {
            let opcode = self.byte()?;
            if opcode == b'.' {
                machine.heap.root = machine.pop()?;
                return Ok(machine.heap);
            }
            machine.step(opcode, self)?;
        }
    }
}

/// The stack machine. Every instruction makes at most one value, so memory is bounded by the pickle's length.
struct Machine<'a> {
    heap: Pickled<'a>,
    stack: Vec<Id>,
    /// Heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: HashMap<usize, Id>,
}

const CONFUSED: &str = "the pickle in the file is damaged";

impl<'a> Machine<'a> {
    fn step(&mut self, opcode: u8, reader: &mut Reader<'a>) -> Result<(), String> {
        match opcode {
            // PROTO, FRAME: announcements.
            0x80 => drop(reader.byte()?),
            0x95 => drop(reader.array::<8>()?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'J' => {
                let value = i32::from_le_bytes(reader.array()?);
                self.push(Value::Int(value.into()));
            }
            b'K' => {
                let value = reader.byte()?;
                self.push(Value::Int(value.into()));
            }
            b'M' => {
                let value = u16::from_le_bytes(reader.array()?);
                self.push(Value::Int(value.into()));
            }
            0x8A => {
                let length = reader.length::<1>()?;
                self.push(long(reader.take(length)?));
            }
            b'G' => {
                reader.array::<8>()?;
                self.push(Value::Ignored);
            }
            b'X' => self.push_text::<4>(reader)?,
            0x8C => self.push_text::<1>(reader)?,
            0x8D => self.push_text::<8>(reader)?,
            // Strings of Python 2; its names were ASCII.
            b'U' => self.push_text::<1>(reader)?,
            b'T' => self.push_text::<4>(reader)?,
            b'B' => self.push_bytes::<4>(reader)?,
            b'C' => self.push_bytes::<1>(reader)?,
            b')' => self.push(Value::Tuple(Vec::new())),
            b']' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Tuple(items));
            }
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let start = self.above_mark(count)?;
                let items = self.stack.split_off(start);
                self.push(Value::Tuple(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.extend_list(vec![item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.extend_list(items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.extend_dict(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.extend_dict(&items)?;
            }
            b'c' => {
                let (module, name) = (reader.line()?, reader.line()?);
                self.push(Value::Global(Global::resolve(module, name)?));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (module, name) =
                    self.heap.as_text(module).zip(self.heap.as_text(name)).ok_or(CONFUSED)?;
                self.push(Value::Global(Global::resolve(module, name)?));
            }
            b'R' => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.call(function, arguments)?;
            }
            // Attributes of an object; a dictionary's `_metadata` carries no weights.
            b'b' => {
                self.pop()?;
                self.top()?;
            }
            b'Q' => {
                let reference = self.pop()?;
                let storage =
                    self.storage(reference).ok_or("the file refers to its numbers in an unknown way")?;
                self.push(Value::Storage(storage));
            }
            b'q' => {
                let slot = reader.length::<1>()?;
                self.remember(slot)?;
            }
            b'r' => {
                let slot = reader.length::<4>()?;
                self.remember(slot)?;
            }
            0x94 => self.remember(self.memo.len())?,
            b'h' => {
                let slot = reader.length::<1>()?;
                self.recall(slot)?;
            }
            b'j' => {
                let slot = reader.length::<4>()?;
                self.recall(slot)?;
            }
            _ => {
                return Err(format!(
                    "the file uses pickle instruction 0x{opcode:02x}, which no dictionary of tensors needs"
                ));
            }
        }
        Ok(())
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.heap.values.len());
        self.heap.values.push(value);
    }

    fn push_text<const N: usize>(&mut self, reader: &mut Reader<'a>) -> Result<(), String> {
        let length = reader.length::<N>()?;
        let text = reader.text(length)?;
        self.push(Value::Text(text));
        Ok(())
    }

    fn push_bytes<const N: usize>(&mut self, reader: &mut Reader<'a>) -> Result<(), String> {
        let length = reader.length::<N>()?;
        reader.take(length)?;
        self.push(Value::Ignored);
        Ok(())
    }

    /// The height of the stack with `count` values less, which must not lie below the innermost mark.
    fn above_mark(&self, count: usize) -> Result<usize, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack.len().checked_sub(count).filter(|&start| start >= floor).ok_or_else(|| CONFUSED.into())
    }

    fn pop(&mut self) -> Result<Id, String> {
        self.above_mark(1)?;
        self.stack.pop().ok_or_else(|| CONFUSED.into())
    }

    fn top(&self) -> Result<Id, String> {
        self.above_mark(1)?;
        self.stack.last().copied().ok_or_else(|| CONFUSED.into())
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len()).ok_or(CONFUSED)?;
        Ok(self.stack.split_off(mark))
    }

    fn extend_list(&mut self, items: Vec<Id>) -> Result<(), String> {
        let top = self.top()?;
        match self.heap.values.get_mut(top) {
            Some(Value::List(list)) => list.extend(items),
            _ => return Err(CONFUSED.into()),
        }
        Ok(())
    }

    fn extend_dict(&mut self, items: &[Id]) -> Result<(), String> {
        let top = self.top()?;
        let (pairs, rest) = items.as_chunks::<2>();
        match self.heap.values.get_mut(top) {
            Some(Value::Dict(dict)) if rest.is_empty() => {
                dict.extend(pairs.iter().map(|&[key, value]| (key, value)))
            }
            _ => return Err(CONFUSED.into()),
        }
        Ok(())
    }

    fn remember(&mut self, slot: usize) -> Result<(), String> {
        let top = self.top()?;
        self.memo.insert(slot, top);
        Ok(())
    }

    fn recall(&mut self, slot: usize) -> Result<(), String> {
        let id = *self.memo.get(&slot).ok_or(CONFUSED)?;
        self.stack.push(id);
        Ok(())
    }

    fn call(&mut self, function: Id, arguments: Id) -> Result<(), String> {
        let Some(&Value::Global(function)) = self.heap.values.get(function) else {
            return Err(CONFUSED.into());
        };
        let arguments = self.heap.as_tuple(arguments).ok_or(CONFUSED)?;
        let value = match (function, arguments) {
            (Global::OrderedDict, []) => Some(Value::Dict(Vec::new())),
            // Python 2 hands the entries over as a list of pairs.
            (Global::OrderedDict, &[entries]) => self.pairs(entries).map(Value::Dict),
            (Global::Size, &[extents]) => {
                self.heap.as_tuple(extents).map(|extents| Value::Tuple(extents.to_vec()))
            }
            (Global::RebuildTensor, &[storage, offset, size, stride])
            | (Global::RebuildTensorV2, &[storage, offset, size, stride, ..]) => {
                self.tensor(storage, offset, size, stride).map(Value::Tensor)
            }
            (Global::RebuildParameter, &[tensor, ..]) => match self.heap.values.get(tensor) {
                Some(Value::Tensor(tensor)) => Some(Value::Tensor(tensor.clone())),
                _ => None,
            },
            _ => None,
        };
        self.push(value.ok_or("a tensor in the file is described in an unknown way")?);
        Ok(())
    }

    fn pairs(&self, entries: Id) -> Option<Vec<(Id, Id)>> {
        let Value::List(entries) = self.heap.values.get(entries)? else { return None };
        let pair = |&entry: &Id| match self.heap.values.get(entry)? {
            Value::List(pair) | Value::Tuple(pair) => match pair[..] {
                [key, value] => Some((key, value)),
                _ => None,
            },
            _ => None,
        };
        entries.iter().map(pair).collect()
    }

    fn tensor(&self, storage: Id, offset: Id, size: Id, stride: Id) -> Option<TensorRef<'a>> {
        let Some(Value::Storage(storage)) = self.heap.values.get(storage) else { return None };
        let window = Window {
            offset: self.heap.as_size(offset)?.checked_add(storage.base)?,
            size: self.heap.as_sizes(size)?,
            stride: self.heap.as_sizes(stride)?,
        };
        (window.size.len() == window.stride.len()).then(|| TensorRef { storage: storage.clone(), window })
    }

    /// `("storage", type, key, device, count)`, in legacy files with a sixth part: none, or `(key, offset, count)`
    /// for a part of the storage.
    fn storage(&self, reference: Id) -> Option<StorageRef<'a>> {
        let parts = self.heap.as_tuple(reference)?;
        let [tag, class, key, _device, count, view @ ..] = parts else { return None };
        let Some(&Value::Global(Global::Storage(kind))) = self.heap.values.get(*class) else { return None };
        let base = match view {
            [] => 0,
            [view] => match self.heap.values.get(*view)? {
                Value::None => 0,
                Value::Tuple(view) => self.heap.as_size(*view.get(1)?)?,
                _ => return None,
            },
            _ => return None,
        };
        let count = self.heap.as_size(*count)?;
        let is_storage = self.heap.as_text(*tag)? == "storage";
        is_storage.then_some(StorageRef { kind, key: self.heap.as_text(*key)?, count, base })
    }
}

/// An integer in little-endian two's complement.
fn long(bytes: &[u8]) -> Value<'_> {
    let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
    let mut wide = if negative { [0xFF; 8] } else { [0; 8] };
    if bytes.len() > wide.len() {
        return Value::Long(bytes);
    }
    wide.iter_mut().zip(bytes).for_each(|(to, &from)| *to = from);
    Value::Int(i64::from_le_bytes(wide))
}
