//! Reading along paths, and projections.

use std::collections::BTreeMap;

use super::ast::{Path, Step};
use crate::value::{Item, Value};

/// Returns the value at a path.
pub(crate) fn read_path<'a>(item: &'a Item, path: &Path) -> Option<&'a Value> {
    let mut value = item.get(path.top())?;
    for step in &path.0[1..] {
        value = match (value, step) {
            (Value::M(map), Step::Name(name)) => map.get(name)?,
            (Value::L(values), Step::Index(index)) => values.get(*index)?,
            _ => return None,
        };
    }
    Some(value)
}

/// Returns the projected part of an item.
#[derive(Debug, Clone, Default)]
pub(crate) struct Projection(BTreeMap<String, Part>);

/// The projected part of a value. Paths that do not overlap form a tree of these.
#[derive(Debug, Clone)]
enum Part {
    Whole,
    Map(BTreeMap<String, Part>),
    List(BTreeMap<usize, Part>),
}

impl Projection {
    pub(crate) fn new(paths: &[Path]) -> Self {
        let mut top = Part::Map(BTreeMap::new());
        for path in paths {
            top.add(&path.0);
        }
        match top {
            Part::Map(parts) => Self(parts),
            _ => Self::default(),
        }
    }

    /// Returns the attributes at the start of its paths.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(crate) fn apply(&self, item: &Item) -> Item {
        select_map(&self.0, item)
    }
}

impl Part {
    fn add(&mut self, path: &[Step]) {
        match path {
            [] => *self = Self::Whole,
            [Step::Name(name), rest @ ..] => {
                if !matches!(self, Self::Map(_)) {
                    *self = Self::Map(BTreeMap::new());
                }
                if let Self::Map(parts) = self {
                    parts.entry(name.clone()).or_insert(Self::Whole).add(rest);
                }
            }
            [Step::Index(index), rest @ ..] => {
                if !matches!(self, Self::List(_)) {
                    *self = Self::List(BTreeMap::new());
                }
                if let Self::List(parts) = self {
                    parts.entry(*index).or_insert(Self::Whole).add(rest);
                }
            }
        }
    }

    fn select(&self, value: &Value) -> Option<Value> {
        match (self, value) {
            (Self::Whole, value) => Some(value.clone()),
            (Self::Map(parts), Value::M(map)) => {
                let selected = select_map(parts, map);
                (!selected.is_empty()).then_some(Value::M(selected))
            }
            (Self::List(parts), Value::L(list)) => {
                let selected = parts.iter().filter_map(|(index, part)| {
                    list.get(*index).and_then(|value| part.select(value))
                });
                let selected: Vec<Value> = selected.collect();
                (!selected.is_empty()).then_some(Value::L(selected))
            }
            _ => None,
        }
    }
}

fn select_map(parts: &BTreeMap<String, Part>, map: &Item) -> Item {
    let mut selected = Item::default();
    for (name, part) in parts {
        if let Some(value) = map.get(name).and_then(|value| part.select(value)) {
            selected.insert(name, value);
        }
    }
    selected
}
