//! Mutations of inputs, the same in each run: what `cargo test` can do without coverage.

/// The longest input.
pub const MAX_INPUT: usize = 4096;

/// Bytes that mean something in most of what is parsed here.
const SPECIAL: &[u8] =
    b"\0\t\n\r\"'%&()+,-./0123456789:;<=>?@[\\]_{|}~\x1A\x7F\x80\xBF\xC3\xEF\xFE\xFF";

/// Makes inputs.
#[derive(Debug)]
pub struct Mutator<'a> {
    inputs: &'a [Vec<u8>],
    words: &'a [Vec<u8>],
    state: u64,
}

impl<'a> Mutator<'a> {
    /// Creates a mutator of these inputs. `words` are inserted into them.
    #[must_use]
    pub fn new(inputs: &'a [Vec<u8>], words: &'a [Vec<u8>], seed: u64) -> Self {
        Self {
            inputs,
            words,
            state: seed | 1,
        }
    }

    /// Returns a number below `end`, which is not 0 (xorshift64*).
    fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let number = self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap_or_default() % end
    }

    fn pick<T: Clone + Default>(&mut self, list: &[T]) -> T {
        match list.len() {
            0 => T::default(),
            length => list[self.below(length)].clone(),
        }
    }

    /// Returns the next input: one of the given ones, changed in one to eight places.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.pick(self.inputs);
        for _ in 0..=self.below(8) {
            self.change(&mut input);
        }
        input.truncate(MAX_INPUT);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let end = at + self.below(input.len() - at + 1).min(64);
        match self.below(8) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            1 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = self.pick(SPECIAL);
                }
            }
            2 => input.insert(at, self.pick(SPECIAL)),
            3 => drop(input.drain(at..end)),
            4 => {
                let copy = input[at..end].to_vec();
                let to = self.below(input.len() + 1);
                drop(input.splice(to..to, copy));
            }
            5 => {
                let other = self.pick(self.inputs);
                let from = self.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => {
                let word = self.pick(self.words);
                drop(input.splice(at..at, word));
            }
        }
    }
}
