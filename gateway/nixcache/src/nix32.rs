//! Nix's own base-32: the alphabet leaves out `e`, `o`, `u` and `t`, and the digits run from the last
//! byte to the first.

/// The 32 digits, in order of value.
pub const ALPHABET: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// Whether `byte` is one of the 32 digits.
#[must_use]
pub fn is_digit(byte: u8) -> bool {
    value(byte).is_some()
}

/// The number of digits that `len` bytes make.
#[must_use]
pub const fn encoded_len(len: usize) -> usize {
    (len * 8).div_ceil(5)
}

/// The digits for `bytes`.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(encoded_len(bytes.len()));
    for digit in (0..encoded_len(bytes.len())).rev() {
        let bit = digit * 5;
        let (byte, shift) = (bit / 8, bit % 8);
        let low = bytes.get(byte).copied().map_or(0, u16::from);
        let high = bytes.get(byte + 1).copied().map_or(0, u16::from);
        let value = ((low | (high << 8)) >> shift) & 0x1f;
        out.push(char::from(ALPHABET[usize::from(value)]));
    }
    out
}

/// The 32 bytes that `text` stands for: 52 digits, without bits beyond the last byte.
#[must_use]
pub fn decode_32(text: &str) -> Option<[u8; 32]> {
    if text.len() != encoded_len(32) {
        return None;
    }
    let mut out = [0_u8; 32];
    for (position, &character) in text.as_bytes().iter().rev().enumerate() {
        let wide = u16::from(value(character)?) << ((position * 5) % 8);
        let byte = position * 5 / 8;
        let [low, high] = wide.to_le_bytes();
        *out.get_mut(byte)? |= low;
        match out.get_mut(byte + 1) {
            Some(next) => *next |= high,
            None if high == 0 => {}
            None => return None,
        }
    }
    Some(out)
}

fn value(byte: u8) -> Option<u8> {
    let value = VALUES[usize::from(byte)];
    (value < 32).then_some(value)
}

/// The value of every byte; 255 for what is no digit. Closures of tens of thousands of hashes are checked at once.
const VALUES: [u8; 256] = {
    let mut values = [255; 256];
    let mut value = 0;
    while value < 32 {
        values[ALPHABET[value as usize] as usize] = value;
        value += 1;
    }
    values
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_hash_of_nixpkgs_documentation_encodes_as_nix_prints_it() {
        // sha256 of the empty string, as `nix hash` prints it in both forms.
        let empty = hex::decode("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855").unwrap();
        let digits = "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73";
        assert_eq!(encode(&empty), digits);
        assert_eq!(decode_32(digits).unwrap().as_slice(), empty);
    }

    #[test]
    fn digits_outside_the_alphabet_and_stray_high_bits_are_refused() {
        assert!(decode_32(&"e".repeat(52)).is_none());
        assert!(decode_32(&"0".repeat(51)).is_none());
        // The first digit carries only one bit of a 256-bit number.
        assert!(decode_32(&format!("2{}", "0".repeat(51))).is_none());
        assert!(decode_32(&format!("1{}", "0".repeat(51))).is_some());
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(bytes: [u8; 32]) {
            prop_assert_eq!(decode_32(&encode(&bytes)), Some(bytes));
        }
    }
}
