//! How an input arrives, and small choices that are made by its last bytes.

/// Takes the last byte of an input, which chooses something; 0 if it is empty.
pub fn choice(input: &[u8]) -> (u8, &[u8]) {
    match input.split_last() {
        Some((&last, rest)) => (last, rest),
        None => (0, input),
    }
}

/// Splits bytes into pieces of changing sizes: of at most 64 bytes, or of more if there would be a hundred of them. `seed`
/// chooses the sizes.
pub fn split(bytes: &[u8], seed: u8) -> Vec<&[u8]> {
    let most = 64.max(bytes.len() / 50);
    let mut pieces = Vec::new();
    let mut rest = bytes;
    let mut state = usize::from(seed) + 1;
    while !rest.is_empty() {
        state = state.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (state >> 29);
        let size = 1 + (state >> 40) % most;
        let (piece, after) = rest.split_at(size.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}
