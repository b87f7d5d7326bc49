//! The PRISM forms: one signed line.
use super::{Proof, RequestError, shape};
use prism_core::{Digest, Hotkey};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How far a timestamp may lie from the receiver's clock, either way.
pub const WINDOW: Duration = Duration::from_secs(300);

/// Header of the sender's ss58 address.
pub const HEADER_HOTKEY: &str = "X-Hotkey";
/// Header of the signature.
pub const HEADER_SIGNATURE: &str = "X-Signature";
/// Header of the nonce.
pub const HEADER_NONCE: &str = "X-Nonce";
/// Header of the timestamp, Unix seconds.
pub const HEADER_TIMESTAMP: &str = "X-Timestamp";

/// A request about to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsigned {
    /// Who sends it.
    pub hotkey: Hotkey,
    /// Used once per hotkey.
    pub nonce: String,
    /// Unix seconds.
    pub timestamp: u64,
    /// SHA-256 of the decoded bundle (JSON form) or of the raw body (header form).
    pub digest: Digest,
}

impl Unsigned {
    /// A request at this moment.
    #[must_use]
    pub fn new(hotkey: Hotkey, nonce: impl Into<String>, now: SystemTime, digest: Digest) -> Self {
        Self { hotkey, nonce: nonce.into(), timestamp: unix_seconds(now), digest }
    }

    /// The line that is signed.
    #[must_use]
    pub fn line(&self) -> String {
        line(&self.hotkey, &self.nonce, self.timestamp, &self.digest)
    }

    /// The request with its signature.
    #[must_use]
    pub fn signed(self, signature: [u8; 64]) -> Signed {
        Signed { hotkey: self.hotkey, nonce: self.nonce, timestamp: self.timestamp, signature }
    }
}

/// A request as it came, its shape checked and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Who claims to have sent it.
    pub hotkey: Hotkey,
    /// Its nonce.
    pub nonce: String,
    /// Unix seconds.
    pub timestamp: u64,
    /// The signature.
    pub signature: [u8; 64],
}

impl Signed {
    /// From the fields of the JSON form.
    ///
    /// # Errors
    /// The first field of another shape.
    pub fn from_fields(hotkey: &str, nonce: &str, timestamp: u64, signature: &str) -> Result<Self, RequestError> {
        Ok(Self {
            hotkey: shape::hotkey("hotkey", hotkey)?,
            nonce: shape::nonce("nonce", nonce)?,
            timestamp,
            signature: shape::signature("signature", signature)?,
        })
    }

    /// From the header form. `header` gives all values of a header, whatever case its name is written in.
    ///
    /// # Errors
    /// The first header that is missing, repeated or of another shape.
    pub fn from_headers<'a>(header: impl Fn(&'static str) -> Vec<&'a str>) -> Result<Self, RequestError> {
        let one = |name| match header(name).as_slice() {
            [] => Err(RequestError::Missing(name)),
            [value] => Ok(*value),
            _ => Err(RequestError::Repeated(name)),
        };
        Ok(Self {
            hotkey: shape::hotkey(HEADER_HOTKEY, one(HEADER_HOTKEY)?)?,
            nonce: shape::nonce(HEADER_NONCE, one(HEADER_NONCE)?)?,
            timestamp: shape::decimal(HEADER_TIMESTAMP, one(HEADER_TIMESTAMP)?)?,
            signature: shape::signature(HEADER_SIGNATURE, one(HEADER_SIGNATURE)?)?,
        })
    }

    /// Checks freshness; what is left to check is the proof. `digest` is that of the bytes that came.
    ///
    /// # Errors
    /// `Stale`, `Future`.
    pub fn proof(&self, digest: &Digest, now: SystemTime) -> Result<Proof, RequestError> {
        let (now, most) = (unix_seconds(now), WINDOW.as_secs());
        if now.saturating_sub(self.timestamp) > most {
            return Err(RequestError::Stale { age: now.saturating_sub(self.timestamp), most });
        }
        if self.timestamp.saturating_sub(now) > most {
            return Err(RequestError::Future { ahead: self.timestamp.saturating_sub(now), most });
        }
        let line = line(&self.hotkey, &self.nonce, self.timestamp, digest);
        Ok(Proof::new(self.hotkey, line, self.signature))
    }

    /// Checks freshness, then the signature over the bytes with this digest. The nonce is spent by the caller, after all
    /// else passed, and kept until [`Signed::keep_nonce_until`].
    ///
    /// # Errors
    /// Those of [`Signed::proof`]; `WeakKey`, `Signature`.
    pub fn verify(&self, digest: &Digest, now: SystemTime) -> Result<(), RequestError> {
        self.proof(digest, now)?.check()
    }

    /// When a nonce may be forgotten: a timestamp a window ahead of now is accepted until two windows from now.
    #[must_use]
    pub fn keep_nonce_until(now: SystemTime) -> SystemTime {
        now + 2 * WINDOW + Duration::from_secs(1)
    }
}

fn line(hotkey: &Hotkey, nonce: &str, timestamp: u64, digest: &Digest) -> String {
    format!("prism:{hotkey}:{nonce}:{timestamp}:{digest}")
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sp_core::{Pair as _, sr25519};

    fn alice() -> (sr25519::Pair, Hotkey) {
        let pair = sr25519::Pair::from_string("//Alice", None).unwrap();
        let hotkey = Hotkey(pair.public().0);
        (pair, hotkey)
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn signed(bytes: &[u8], timestamp: u64) -> Signed {
        let (pair, hotkey) = alice();
        let request = Unsigned::new(hotkey, "n-1", at(timestamp), Digest::of(bytes));
        let signature = pair.sign(request.line().as_bytes()).0;
        request.signed(signature)
    }

    #[test]
    fn the_line_is_the_one_of_the_contract() {
        let (_, hotkey) = alice();
        let request = Unsigned::new(hotkey, "abc", at(1_700_000_000), Digest::of(b"abc"));
        let expected = "prism:5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY:abc:1700000000:\
                        ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(request.line(), expected);
    }

    #[test]
    fn the_window_is_closed_at_both_ends() {
        let request = signed(b"bundle", 10_000);
        let digest = Digest::of(b"bundle");
        for now in [9_700, 10_000, 10_300] {
            assert_eq!(request.verify(&digest, at(now)), Ok(()), "{now}");
        }
        assert_eq!(request.verify(&digest, at(10_301)), Err(RequestError::Stale { age: 301, most: 300 }));
        assert_eq!(request.verify(&digest, at(9_699)), Err(RequestError::Future { ahead: 301, most: 300 }));
    }

    #[test]
    fn a_signature_counts_for_its_own_bytes_nonce_time_and_key_only() {
        let good = signed(b"bundle", 10_000);
        let digest = Digest::of(b"bundle");
        let bob = Hotkey(sr25519::Pair::from_string("//Bob", None).unwrap().public().0);
        let wrong = [
            Signed { nonce: "n-2".into(), ..good.clone() },
            Signed { timestamp: 10_001, ..good.clone() },
            Signed { hotkey: bob, ..good.clone() },
        ];
        for request in wrong {
            assert_eq!(request.verify(&digest, at(10_000)), Err(RequestError::Signature));
        }
        assert_eq!(good.verify(&Digest::of(b"other"), at(10_000)), Err(RequestError::Signature));
        let nobody = Signed { hotkey: Hotkey([0; 32]), ..good };
        assert_eq!(nobody.verify(&digest, at(10_000)), Err(RequestError::WeakKey));
    }

    #[test]
    fn a_wrapped_message_is_not_the_message() {
        let (pair, hotkey) = alice();
        let request = Unsigned::new(hotkey, "n", at(10_000), Digest::of(b"x"));
        let wrapped = format!("<Bytes>{}</Bytes>", request.line());
        let signature = pair.sign(wrapped.as_bytes()).0;
        assert_eq!(request.signed(signature).verify(&Digest::of(b"x"), at(10_000)), Err(RequestError::Signature));
    }

    #[test]
    fn each_header_is_needed_once_and_in_its_shape() {
        let (_, hotkey) = alice();
        let address = hotkey.ss58();
        let signature = format!("0x{}", "ab".repeat(64));
        let good = [
            (HEADER_HOTKEY, address.as_str()),
            (HEADER_NONCE, "n"),
            (HEADER_TIMESTAMP, "1700000000"),
            (HEADER_SIGNATURE, signature.as_str()),
        ];
        let parse = |headers: &[(&'static str, &str)]| {
            let headers: Vec<(&'static str, String)> = headers.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
            Signed::from_headers(|name| headers.iter().filter(|(n, _)| *n == name).map(|(_, v)| v.as_str()).collect())
        };
        assert_eq!(parse(&good).unwrap().hotkey, hotkey);
        for index in 0..good.len() {
            let mut fewer = good.to_vec();
            let (name, _) = fewer.remove(index);
            assert_eq!(parse(&fewer), Err(RequestError::Missing(name)));
            let twice: Vec<_> = good.iter().chain([&good[index]]).copied().collect();
            assert_eq!(parse(&twice), Err(RequestError::Repeated(good[index].0)));
        }
        for (index, bad) in [(0, "5Grw"), (1, "a b"), (1, ""), (2, "-1"), (2, "007"), (2, "1e9"), (3, "0xab")] {
            let mut headers = good;
            headers[index].1 = bad;
            assert!(parse(&headers).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_field_panics(hotkey in ".{0,60}", nonce in ".{0,140}", timestamp: u64, signature in ".{0,140}", now: u32) {
            if let Ok(signed) = Signed::from_fields(&hotkey, &nonce, timestamp, &signature) {
                let _ = signed.verify(&Digest::of(b""), at(u64::from(now)));
            }
        }
    }
}
