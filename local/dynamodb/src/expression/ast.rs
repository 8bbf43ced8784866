//! The syntax trees of conditions, updates and projections, for expressions and for `PartiQL`.

use crate::value::Value;

/// A step into an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Name(String),
    Index(usize),
}

/// A path in an item; its first step is a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path(pub(crate) Vec<Step>);

impl Path {
    /// Returns the attribute at the start of the path.
    pub(crate) fn top(&self) -> &str {
        match self.0.first() {
            Some(Step::Name(name)) => name,
            _ => "",
        }
    }

    /// Returns the path of the list that contains the last element, or else the path itself.
    pub(crate) fn to_list(&self) -> Self {
        let names = self
            .0
            .iter()
            .take_while(|step| matches!(step, Step::Name(_)));
        Self(names.cloned().collect())
    }

    /// Returns the attribute if the path has only one step.
    pub(crate) fn as_attribute(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Step::Name(name)] => Some(name),
            _ => None,
        }
    }
}

/// A part of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand {
    Path(Path),
    /// A literal.
    Value(Value),
    /// The value with this number in the request's values.
    Parameter(usize),
    Size(Box<Operand>),
}

/// A comparison's operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A condition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    Compare(Comparison, Operand, Operand),
    Between(Operand, Operand, Operand),
    In(Operand, Vec<Operand>),
    Exists(Path),
    NotExists(Path),
    HasType(Path, Operand),
    BeginsWith(Operand, Operand),
    Contains(Operand, Operand),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
}

/// The new value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Term {
    Operand(Operand),
    IfNotExists(Path, Box<Term>),
    ListAppend(Box<Term>, Box<Term>),
    Plus(Box<Term>, Box<Term>),
    Minus(Box<Term>, Box<Term>),
    /// `PartiQL`'s `set_add` and `set_delete`.
    SetAdd(Box<Term>, Box<Term>),
    SetDelete(Box<Term>, Box<Term>),
}

/// One change of an update.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    Set(Path, Term),
    Remove(Path),
    Add(Path, Operand),
    Delete(Path, Operand),
}

impl Action {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Set(path, _)
            | Self::Remove(path)
            | Self::Add(path, _)
            | Self::Delete(path, _) => path,
        }
    }
}
