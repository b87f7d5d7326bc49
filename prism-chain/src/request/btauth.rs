//! `btauth/1`, the request scheme of the official SDK since version 11 (its `http_auth.py`), with stricter shapes: no
//! repeated header, no leading zeros, strict hexadecimal, sr25519 only, and a receiver always named.
use super::{Proof, RequestError, shape};
use crate::signer::{KeyError, Signer, sign_checked};
use prism_core::{Digest, Hotkey};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How old a nonce, which is a time, may be.
pub const MAX_AGE: Duration = Duration::from_secs(10);
/// How far it may lie in the future.
pub const MAX_SKEW: Duration = Duration::from_secs(2);

/// Header of the scheme's version, always `1`.
pub const HEADER_VERSION: &str = "X-Bittensor-Version";
/// Header of the sender's ss58 address.
pub const HEADER_HOTKEY: &str = "X-Bittensor-Hotkey";
/// Header of the nonce: Unix nanoseconds.
pub const HEADER_NONCE: &str = "X-Bittensor-Nonce";
/// Header of the signature.
pub const HEADER_SIGNATURE: &str = "X-Bittensor-Signature";
/// Header of the receiver's ss58 address.
pub const HEADER_RECEIVER: &str = "X-Bittensor-Receiver";
/// Header of the key's kind; absent for sr25519.
pub const HEADER_CRYPTO: &str = "X-Bittensor-Crypto";

/// What a request is about, as the receiver sees it.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// As in `POST`.
    pub method: &'a str,
    /// Path and query as sent.
    pub path: &'a str,
    /// SHA-256 of the raw body.
    pub body: Digest,
    /// Whom it must be meant for.
    pub receiver: Hotkey,
}

/// A request as it came, its shape checked and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Who claims to have sent it.
    pub hotkey: Hotkey,
    /// Unix nanoseconds.
    pub nonce: u64,
    /// Whom it is meant for.
    pub receiver: Hotkey,
    /// The signature.
    pub signature: [u8; 64],
}

/// The bytes that are signed: seven lines without an end of line at the end.
#[must_use]
pub fn message(target: &Target<'_>, nonce: u64, sender: &Hotkey) -> String {
    let Target { method, path, body, receiver } = target;
    format!("btauth/1\nsr25519\n{}\n{path}\n{body}\n{nonce}\n{sender}\n{receiver}", method.to_ascii_uppercase())
}

/// The headers of a request to `target`, signed at this moment.
///
/// # Errors
/// Those of the signer.
pub async fn sign(
    signer: &dyn Signer,
    target: &Target<'_>,
    now: SystemTime,
) -> Result<[(&'static str, String); 5], KeyError> {
    let hotkey = signer.hotkey();
    let nonce = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    // In range until the year 2554.
    let nonce = u64::try_from(nonce).unwrap_or(u64::MAX);
    let signature = sign_checked(signer, message(target, nonce, &hotkey).as_bytes()).await?;
    Ok([
        (HEADER_VERSION, "1".to_owned()),
        (HEADER_HOTKEY, hotkey.ss58()),
        (HEADER_NONCE, nonce.to_string()),
        (HEADER_RECEIVER, target.receiver.ss58()),
        (HEADER_SIGNATURE, format!("0x{}", hex::encode(signature))),
    ])
}

impl Signed {
    /// From headers. `header` gives all values of a header, whatever case its name is written in.
    ///
    /// # Errors
    /// The first header that is missing, repeated or of another shape.
    pub fn from_headers<'a>(header: impl Fn(&'static str) -> Vec<&'a str>) -> Result<Self, RequestError> {
        let optional = |name| match header(name).as_slice() {
            [] => Ok(None),
            [value] => Ok(Some(*value)),
            _ => Err(RequestError::Repeated(name)),
        };
        let one = |name| optional(name)?.ok_or(RequestError::Missing(name));
        if one(HEADER_VERSION)? != "1" {
            return Err(RequestError::Shape { field: HEADER_VERSION, expected: "1" });
        }
        if !matches!(optional(HEADER_CRYPTO)?, None | Some("sr25519")) {
            return Err(RequestError::Shape { field: HEADER_CRYPTO, expected: "sr25519" });
        }
        Ok(Self {
            hotkey: shape::hotkey(HEADER_HOTKEY, one(HEADER_HOTKEY)?)?,
            nonce: shape::decimal(HEADER_NONCE, one(HEADER_NONCE)?)?,
            receiver: shape::hotkey(HEADER_RECEIVER, one(HEADER_RECEIVER)?)?,
            signature: shape::prefixed_signature(HEADER_SIGNATURE, one(HEADER_SIGNATURE)?)?,
        })
    }

    /// Checks the receiver and freshness; what is left to check is the proof.
    ///
    /// # Errors
    /// `Receiver`, `Stale`, `Future`.
    pub fn proof(&self, target: &Target<'_>, now: SystemTime) -> Result<Proof, RequestError> {
        if self.receiver != target.receiver {
            return Err(RequestError::Receiver);
        }
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let signed = Duration::from_nanos(self.nonce);
        if now.saturating_sub(signed) > MAX_AGE {
            return Err(RequestError::Stale { age: now.saturating_sub(signed).as_secs(), most: MAX_AGE.as_secs() });
        }
        if signed.saturating_sub(now) > MAX_SKEW {
            return Err(RequestError::Future { ahead: signed.saturating_sub(now).as_secs(), most: MAX_SKEW.as_secs() });
        }
        Ok(Proof::new(self.hotkey, message(target, self.nonce, &self.hotkey), self.signature))
    }

    /// Checks the receiver, freshness and the signature. The nonce is spent by the caller, after all else passed.
    ///
    /// # Errors
    /// Those of [`Signed::proof`]; `WeakKey`, `Signature`.
    pub fn verify(&self, target: &Target<'_>, now: SystemTime) -> Result<(), RequestError> {
        self.proof(target, now)?.check()
    }

    /// When the nonce may be forgotten: after twice the whole window.
    #[must_use]
    pub fn keep_nonce_until(now: SystemTime) -> SystemTime {
        now + 2 * (MAX_AGE + MAX_SKEW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::Keypair;

    const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
    const BOB: &str = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty";
    const NONCE: &str = "1760000000000000000";
    /// Made by the official SDK 11.3.0 for //Alice to //Bob, POST /v1/x?a=1, body {"a":1}.
    const OFFICIAL: &str = "0x58ff3fe53158b120167f02d8f03927a200ec1959e4cabf2ed82d88da6f657141\
                            ba21f138f25af111b0cc592f9f50fc4eeb40b091b49819d2494ef7b34dc65389";

    fn target() -> Target<'static> {
        Target { method: "post", path: "/v1/x?a=1", body: Digest::of(b"{\"a\":1}"), receiver: BOB.parse().unwrap() }
    }

    fn official(receiver: &str) -> Signed {
        let headers = [
            (HEADER_VERSION, "1"),
            (HEADER_HOTKEY, ALICE),
            (HEADER_NONCE, NONCE),
            (HEADER_SIGNATURE, OFFICIAL),
            (HEADER_RECEIVER, receiver),
        ];
        Signed::from_headers(|name| headers.iter().filter(|(n, _)| *n == name).map(|(_, v)| *v).collect()).unwrap()
    }

    fn at(offset_millis: i64) -> SystemTime {
        let base = UNIX_EPOCH + Duration::from_secs(1_760_000_000);
        let offset = Duration::from_millis(offset_millis.unsigned_abs());
        if offset_millis < 0 { base - offset } else { base + offset }
    }

    #[test]
    fn the_signed_bytes_are_those_of_the_official_package() {
        let expected = "btauth/1\nsr25519\nPOST\n/v1/x?a=1\n\
                        015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862\n1760000000000000000\n\
                        5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY\n5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty";
        assert_eq!(message(&target(), NONCE.parse().unwrap(), &ALICE.parse().unwrap()), expected);
    }

    #[test]
    fn a_signature_of_the_official_package_verifies_within_its_window() {
        assert_eq!(official(BOB).verify(&target(), at(0)), Ok(()));
        assert_eq!(official(BOB).verify(&target(), at(10_000)), Ok(()));
        assert_eq!(official(BOB).verify(&target(), at(-2_000)), Ok(()));
        assert!(matches!(official(BOB).verify(&target(), at(10_001)), Err(RequestError::Stale { .. })));
        assert!(matches!(official(BOB).verify(&target(), at(-2_001)), Err(RequestError::Future { .. })));
    }

    #[tokio::test]
    async fn what_is_signed_here_has_the_official_headers_and_verifies() {
        let alice = Keypair::from_uri("//Alice").unwrap();
        let headers = sign(&alice, &target(), at(0)).await.unwrap();
        let read = |headers: &[(&'static str, String)]| {
            Signed::from_headers(|name| headers.iter().filter(|(n, _)| *n == name).map(|(_, v)| v.as_str()).collect())
        };
        let signed = read(&headers).unwrap();
        assert_eq!((signed.nonce.to_string().as_str(), signed.verify(&target(), at(1))), (NONCE, Ok(())));
        for index in 0..headers.len() {
            let mut fewer = headers.to_vec();
            let (name, _) = fewer.remove(index);
            assert_eq!(read(&fewer), Err(RequestError::Missing(name)));
            let twice: Vec<_> = headers.iter().chain([&headers[index]]).cloned().collect();
            assert_eq!(read(&twice), Err(RequestError::Repeated(headers[index].0)));
        }
        let bare = headers[4].1.trim_start_matches("0x").to_owned();
        for (index, bad) in
            [(0, "2"), (1, &ALICE[..47]), (2, "01"), (2, "1.0"), (2, "18446744073709551616"), (4, &bare)]
        {
            let mut changed = headers.to_vec();
            changed[index].1 = bad.to_owned();
            assert!(read(&changed).is_err(), "{bad}");
        }
        for kind in ["ed25519", "SR25519", ""] {
            let with: Vec<_> = headers.iter().cloned().chain([(HEADER_CRYPTO, kind.to_owned())]).collect();
            assert!(matches!(read(&with), Err(RequestError::Shape { field: HEADER_CRYPTO, .. })), "{kind}");
        }
    }

    #[test]
    fn a_wrapped_message_and_a_key_that_is_no_point_prove_nothing() {
        let alice = Keypair::from_uri("//Alice").unwrap();
        let nonce = NONCE.parse().unwrap();
        let wrapped = format!("<Bytes>{}</Bytes>", message(&target(), nonce, &alice.hotkey()));
        let signature = alice.sign(wrapped.as_bytes());
        let signed = Signed { hotkey: alice.hotkey(), nonce, receiver: target().receiver, signature };
        assert_eq!(signed.verify(&target(), at(0)), Err(RequestError::Signature));

        let nobody = Signed { hotkey: Hotkey([0; 32]), ..signed.clone() };
        assert_eq!(nobody.verify(&target(), at(0)), Err(RequestError::WeakKey));
        // Encodings of small order on the curve below, and zero written as the field's modulus: none is a ristretto point.
        let modulus = {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (0xed, 0x7f);
            bytes
        };
        let mut one = [0; 32];
        one[0] = 1;
        for key in [one, modulus, [0xff; 32]] {
            let odd = Signed { hotkey: Hotkey(key), signature: [0; 64], ..signed.clone() };
            assert_eq!(odd.verify(&target(), at(0)), Err(RequestError::Signature));
        }
    }

    #[test]
    fn another_receiver_path_or_body_is_refused() {
        assert_eq!(official(ALICE).verify(&target(), at(0)), Err(RequestError::Receiver));
        let other = Target { path: "/v1/x", ..target() };
        assert_eq!(official(BOB).verify(&other, at(0)), Err(RequestError::Signature));
        let other = Target { body: Digest::of(b"{}"), ..target() };
        assert_eq!(official(BOB).verify(&other, at(0)), Err(RequestError::Signature));
    }
}
