//! Phone numbers in usual notations: American ones in seven ways, and one in twelve from other
//! countries. Each has a possible length for its country, and none is a placeholder (0000000000,
//! 1234567890), which the registry would reject.
//!

use std::fmt::Write;

use super::prng::Prng;

/// How many in a thousand are from outside the United States.
const FOREIGN_PER_MILLE: u32 = 80;

/// Area codes in use.
#[rustfmt::skip]
pub const AREA_CODES: &[u16] = &[
    201, 202, 203, 205, 206, 207, 208, 209, 210, 212, 213, 214, 215, 216, 217, 218, 219, 224, 225,
    228, 229, 231, 234, 239, 240, 248, 251, 252, 253, 254, 256, 260, 262, 267, 269, 270, 276, 281,
    301, 302, 303, 304, 305, 307, 308, 309, 310, 312, 313, 314, 315, 316, 317, 318, 319, 320, 321,
    323, 325, 330, 331, 334, 336, 337, 339, 347, 351, 352, 360, 361, 386, 401, 402, 404, 405, 406,
    407, 408, 409, 410, 412, 413, 414, 415, 417, 419, 423, 424, 425, 432, 434, 435, 440, 443, 469,
    478, 479, 480, 484, 501, 502, 503, 504, 505, 507, 508, 509, 510, 512, 513, 515, 516, 517, 518,
    520, 530, 540, 541, 551, 559, 561, 562, 563, 567, 570, 571, 573, 574, 580, 585, 586, 601, 602,
    603, 605, 606, 607, 608, 609, 610, 612, 614, 615, 616, 617, 618, 619, 620, 623, 626, 630, 631,
    636, 641, 646, 650, 651, 660, 661, 662, 678, 682, 701, 702, 703, 704, 706, 707, 708, 712, 713,
    714, 715, 716, 717, 718, 719, 720, 724, 727, 731, 732, 734, 740, 754, 757, 760, 763, 765, 770,
    772, 773, 774, 775, 781, 785, 786, 801, 802, 803, 804, 805, 806, 808, 810, 812, 813, 814, 815,
    816, 817, 818, 828, 830, 831, 832, 843, 845, 847, 848, 850, 856, 857, 858, 859, 860, 862, 863,
    864, 865, 870, 901, 903, 904, 906, 907, 908, 909, 910, 912, 913, 914, 915, 916, 917, 918, 919,
    920, 925, 928, 931, 936, 937, 940, 941, 947, 949, 951, 952, 954, 956, 970, 971, 972, 973, 978,
    979, 980, 985, 989,
];

/// Patterns of other countries; `#` is any digit.
pub const FOREIGN: &[&str] = &[
    "+44 7### ######",
    "+44 20 #### ####",
    "+447#########",
    "+49 151 ########",
    "+49 (30) ########",
    "+33 6 ## ## ## ##",
    "+33 1.##.##.##.##",
    "+81 90-####-####",
    "+81 3-####-####",
    "+84 91 ### ## ##",
    "+52 55 #### ####",
    "+353 87 ### ####",
    "+34 6## ### ###",
    "+39 3## ### ####",
    "+48 5## ### ###",
    "+61 4## ### ###",
    "+91 98### #####",
    "+55 11 9####-####",
    "+31 6 ########",
    "+46 70 ### ## ##",
    "+82 10-####-####",
    "+234 803 ### ####",
    "+86 138 #### ####",
];

/// Appends a phone number.
pub fn write(prng: &mut Prng, out: &mut String) {
    let start = out.len();
    loop {
        if prng.per_mille(FOREIGN_PER_MILLE) {
            foreign(prng, out);
        } else {
            american(prng, out);
        }
        if !looks_made_up(&out[start..]) {
            return;
        }
        out.truncate(start);
    }
}

fn american(prng: &mut Prng, out: &mut String) {
    let area = prng.pick(AREA_CODES);
    // The exchange never starts with 0 or 1 nor ends with 11 (North American Numbering Plan).
    let exchange = loop {
        let exchange = 200 + prng.below(800);
        if exchange % 100 != 11 {
            break exchange;
        }
    };
    let line = prng.below(10_000);
    let written = match prng.below(20) {
        0..=6 => write!(out, "({area}) {exchange}-{line:04}"),
        7..=11 => write!(out, "{area}-{exchange}-{line:04}"),
        12..=14 => write!(out, "{area}{exchange}{line:04}"),
        15..=16 => write!(out, "+1 {area} {exchange} {line:04}"),
        17 => write!(out, "+1{area}{exchange}{line:04}"),
        18 => write!(out, "{area}.{exchange}.{line:04}"),
        _ => write!(out, "1-{area}-{exchange}-{line:04}"),
    };
    written.expect("writing to a string can't fail");
}

fn foreign(prng: &mut Prng, out: &mut String) {
    let pattern = prng.pick(FOREIGN);
    fill(prng, pattern, out);
}

/// Appends the pattern with a random digit for each `#`.
fn fill(prng: &mut Prng, pattern: &str, out: &mut String) {
    for c in pattern.chars() {
        out.push(match c {
            '#' => char::from_digit(prng.below(10), 10).expect("a number below ten is a digit"),
            other => other,
        });
    }
}

/// Returns whether the last nine digits are one digit repeated, or count up or down.
fn looks_made_up(phone: &str) -> bool {
    const TAIL: usize = 9;
    let mut digits = phone.bytes().rev().filter(u8::is_ascii_digit).take(TAIL);
    let Some(mut previous) = digits.next() else {
        return true;
    };
    let mut step = None;
    for digit in digits {
        let here = (10 + digit - previous) % 10;
        if !matches!(here, 0 | 1 | 9) || step.is_some_and(|s| s != here) {
            return false;
        }
        step = Some(here);
        previous = digit;
    }
    true
}

#[cfg(test)]
mod tests {
    use mpulse_shared::phone::DefaultRegion;

    use super::*;

    fn is_possible(phone: &str) -> bool {
        let region: DefaultRegion = "US".parse().expect("a country");
        region.parse(phone).is_ok()
    }

    #[test]
    fn every_number_is_possible() {
        let mut prng = Prng::new(1);
        let mut phone = String::new();
        for _ in 0..20_000 {
            phone.clear();
            write(&mut prng, &mut phone);
            assert!(is_possible(&phone), "{phone}");
        }
    }

    #[test]
    fn every_foreign_pattern_is_possible() {
        let mut prng = Prng::new(2);
        for pattern in FOREIGN {
            for _ in 0..50 {
                let mut phone = String::new();
                fill(&mut prng, pattern, &mut phone);
                assert!(is_possible(&phone), "{phone}");
            }
        }
    }

    #[test]
    fn placeholders_are_recognised() {
        for phone in [
            "0000000000",
            "123-456-7890",
            "(987) 654-3210",
            "+1 777 777 7777",
        ] {
            assert!(looks_made_up(phone), "{phone}");
        }
        for phone in ["(714) 555-0123", "+44 7911 123456", "234-567-8902"] {
            assert!(!looks_made_up(phone), "{phone}");
        }
    }

    #[test]
    fn area_codes_are_three_digits_in_order() {
        assert!(AREA_CODES.is_sorted());
        assert!(AREA_CODES.iter().all(|code| (200..1000).contains(code)));
    }
}
