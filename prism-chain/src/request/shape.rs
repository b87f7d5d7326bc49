//! Strict shapes of what comes in headers and fields.
use super::RequestError;
use prism_core::Hotkey;

pub(super) fn hotkey(field: &'static str, text: &str) -> Result<Hotkey, RequestError> {
    text.parse().map_err(|source| RequestError::Hotkey { field, source })
}

/// 64 bytes in hexadecimal, with or without `0x`.
pub(super) fn signature(field: &'static str, text: &str) -> Result<[u8; 64], RequestError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let mut bytes = [0; 64];
    let decoded = hex::decode_to_slice(digits, &mut bytes);
    decoded.map_err(|_| RequestError::Shape { field, expected: "64 bytes in hexadecimal" })?;
    Ok(bytes)
}

/// `0x` and 64 bytes in hexadecimal.
pub(super) fn prefixed_signature(field: &'static str, text: &str) -> Result<[u8; 64], RequestError> {
    let expected = "0x and 64 bytes in hexadecimal";
    if text.starts_with("0x") { signature(field, text) } else { Err(RequestError::Shape { field, expected }) }
}

/// 1 to 128 letters, digits, `_` and `-`.
pub(super) fn nonce(field: &'static str, text: &str) -> Result<String, RequestError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if (1..=128).contains(&text.len()) && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err(RequestError::Shape { field, expected: "1 to 128 letters, digits, `_` or `-`" })
}

/// A decimal number without sign, leading zero or space, at most 20 digits.
pub(super) fn decimal(field: &'static str, text: &str) -> Result<u64, RequestError> {
    let error = || RequestError::Shape { field, expected: "a decimal number" };
    let canonical =
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().map_err(|_| error()) } else { Err(error()) }
}
