//! Nix's own base 32: its alphabet leaves out `e`, `o`, `u` and `t`, and the last digit comes first.

/// The digits, lowest value first.
const ALPHABET: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// What [`VALUES`] holds for bytes that are no digits.
const NO_DIGIT: u8 = 0xff;

/// The value of every byte as a digit.
const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 32 {
        values[ALPHABET[value as usize] as usize] = value;
        value += 1;
    }
    values
};

/// Why a text is not in Nix's base 32.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Base32Error {
    /// A character outside the alphabet.
    #[error("character {character:?} at position {position} is not in Nix's base 32 alphabet")]
    Character {
        /// The character.
        character: char,
        /// Where it stands, in characters from 0.
        position: usize,
    },
    /// No number of whole bytes has this many digits.
    #[error("{length} base 32 digits do not make whole bytes")]
    Length {
        /// The number of digits.
        length: usize,
    },
    /// The bits past the last byte are not zero, so the text is a second spelling of other bytes.
    #[error("base 32 text has bits set past its last byte")]
    Overflow,
}

/// Returns the number of digits that so many bytes take.
#[must_use]
pub const fn encoded_length(bytes: usize) -> usize {
    (bytes * 8).div_ceil(5)
}

/// Returns whether the byte is one of the 32 digits.
#[must_use]
pub const fn is_digit(byte: u8) -> bool {
    VALUES[byte as usize] != NO_DIGIT
}

/// Returns the value of a digit below 32, or something larger for other bytes.
pub(crate) const fn value(byte: u8) -> u8 {
    VALUES[byte as usize]
}

/// Writes bytes in Nix's base 32.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    (0..encoded_length(bytes.len()))
        .rev()
        .map(|digit| {
            let (index, shift) = (digit * 5 / 8, digit * 5 % 8);
            let low = u16::from(bytes[index]);
            let high = u16::from(bytes.get(index + 1).copied().unwrap_or(0));
            char::from(ALPHABET[usize::from(((high << 8 | low) >> shift) & 31)])
        })
        .collect()
}

/// Reads what [`encode`] writes, and nothing else: each value has one spelling.
///
/// # Errors
/// Fails for other characters, an impossible length, and bits set past the last byte.
pub fn decode(text: &str) -> Result<Vec<u8>, Base32Error> {
    let length = text.len();
    let mut bytes = vec![0_u8; length * 5 / 8];
    for (digit, &byte) in text.as_bytes().iter().rev().enumerate() {
        let value = VALUES[usize::from(byte)];
        if value == NO_DIGIT {
            return Err(wrong_character(text));
        }
        let (index, shift) = (digit * 5 / 8, digit * 5 % 8);
        let spread = u16::from(value) << shift;
        let [low, high] = spread.to_le_bytes();
        for (index, part) in [(index, low), (index + 1, high)] {
            match bytes.get_mut(index) {
                Some(byte) => *byte |= part,
                None if part != 0 => return Err(Base32Error::Overflow),
                None => {}
            }
        }
    }
    if encoded_length(bytes.len()) != length {
        return Err(Base32Error::Length { length });
    }
    Ok(bytes)
}

/// Names the first character that is no digit.
fn wrong_character(text: &str) -> Base32Error {
    let (position, character) = text
        .chars()
        .enumerate()
        .find(|(_, character)| !u8::try_from(*character).is_ok_and(is_digit))
        .unwrap_or((0, char::REPLACEMENT_CHARACTER));
    Base32Error::Character {
        character,
        position,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_are_written_as_nix_writes_them() {
        assert_eq!(encode(b""), "");
        assert_eq!(encode(&[0x1f]), "0z");
        assert_eq!(encode(b"\xff"), "7z");
        // The SHA-256 of nothing, as `nix hash` prints it.
        let empty = crate::Hash::sha256(b"");
        assert_eq!(
            encode(empty.digest()),
            "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"
        );
    }

    #[test]
    fn wrong_texts_are_refused_with_the_cause() {
        assert_eq!(
            decode("0e"),
            Err(Base32Error::Character {
                character: 'e',
                position: 1
            })
        );
        assert_eq!(
            decode("äz"),
            Err(Base32Error::Character {
                character: 'ä',
                position: 0
            })
        );
        assert_eq!(decode("0"), Err(Base32Error::Length { length: 1 }));
        assert_eq!(decode("000"), Err(Base32Error::Length { length: 3 }));
        assert_eq!(decode("zz"), Err(Base32Error::Overflow));
        assert_eq!(decode("8z"), Err(Base32Error::Overflow));
    }

    #[test]
    fn all_short_inputs_come_back() {
        for length in 0..70_u8 {
            let bytes: Vec<u8> = (0..length).map(|one| one.wrapping_mul(37) ^ 0xa5).collect();
            assert_eq!(decode(&encode(&bytes)), Ok(bytes));
        }
    }
}
