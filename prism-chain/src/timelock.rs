//! Timelock encryption: bytes that nobody can read before a beacon has published a round's signature.
//!
//! The scheme is the chain's (commit-reveal version 4, and commitments under a timelock): the full Boneh-Franklin
//! identity-based encryption over BLS12-381, with a round's number as the identity and the round's BLS signature as its
//! key, which wraps a key of AES-256-GCM. Arithmetic comes from the crate `timelock`, by the authors of the chain's own;
//! the layout in bytes differs from that crate's and is written here (subtensor, pallets/drand and `tle`).
use ark_bls12_381::{Fr, G1Affine, G2Affine, G2Projective};
use ark_ec::{AffineRepr, CurveGroup, PrimeGroup};
use ark_ff::PrimeField;
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use rand::{CryptoRng, RngCore};
use sha2::{Digest as _, Sha256};
use std::fmt;
use timelock::{
    block_ciphers::{AESGCMBlockCipherProvider, AESOutput, BlockCipherProvider},
    engines::drand::TinyBLS381,
    ibe::fullident::{Ciphertext as Wrapped, IBESecret, Identity, Input},
};
use zeroize::{Zeroize, Zeroizing};

/// Longest ciphertext that the chain takes for weights, in bytes (subtensor, `MAX_CRV3_COMMIT_SIZE_BYTES`).
pub const MAX_CIPHERTEXT_BYTES: usize = 5_000;

/// Bytes of a beacon's public key: a point of G2, compressed.
pub const PUBLIC_KEY_BYTES: usize = 96;

/// Bytes of a round's signature: a point of G1, compressed.
pub const SIGNATURE_BYTES: usize = 48;

const HASH: usize = 32;
const TAG: usize = 16;
const NONCE: usize = 12;
const SUITE: &[u8; 8] = b"AES_GCM_";

/// Why something can't be encrypted or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimelockError {
    /// A beacon's public key is no point of the curve's second group, or its zero.
    #[error("beacon public key: not a point of the group G2")]
    PublicKey,
    /// A signature is no point of the curve's first group.
    #[error("beacon signature: not a point of the group G1")]
    Signature,
    /// A ciphertext isn't in the chain's layout.
    #[error("timelock ciphertext: {0}")]
    Layout(&'static str),
    /// A ciphertext is longer than the chain takes.
    #[error("timelock ciphertext: {bytes} bytes where {MAX_CIPHERTEXT_BYTES} are the most")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The plaintext is too long for the cipher.
    #[error("timelock plaintext: too long for AES-GCM")]
    Plaintext,
    /// The ciphertext doesn't open under this signature.
    #[error("timelock ciphertext: does not open: it is for another round or beacon, or was changed")]
    Sealed,
}

/// A randomness beacon whose rounds open ciphertexts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Beacon {
    /// The point of G2 that its signatures are checked with, compressed.
    pub public_key: [u8; PUBLIC_KEY_BYTES],
    /// When round 1 was due, in seconds since 1970.
    pub genesis_unix: u64,
    /// Seconds between rounds; at least 1.
    pub period: u64,
}

/// drand's quicknet, the beacon that the chain follows (chain hash
/// `52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971`).
pub const QUICKNET: Beacon = Beacon { public_key: QUICKNET_KEY, genesis_unix: 1_692_803_367, period: 3 };

#[rustfmt::skip]
const QUICKNET_KEY: [u8; PUBLIC_KEY_BYTES] = [
    0x83, 0xcf, 0x0f, 0x28, 0x96, 0xad, 0xee, 0x7e, 0xb8, 0xb5, 0xf0, 0x1f, 0xca, 0xd3, 0x91, 0x22,
    0x12, 0xc4, 0x37, 0xe0, 0x07, 0x3e, 0x91, 0x1f, 0xb9, 0x00, 0x22, 0xd3, 0xe7, 0x60, 0x18, 0x3c,
    0x8c, 0x4b, 0x45, 0x0b, 0x6a, 0x0a, 0x6c, 0x3a, 0xc6, 0xa5, 0x77, 0x6a, 0x2d, 0x10, 0x64, 0x51,
    0x0d, 0x1f, 0xec, 0x75, 0x8c, 0x92, 0x1c, 0xc2, 0x2b, 0x0e, 0x17, 0xe6, 0x3a, 0xaf, 0x4b, 0xcb,
    0x5e, 0xd6, 0x63, 0x04, 0xde, 0x9c, 0xf8, 0x09, 0xbd, 0x27, 0x4c, 0xa7, 0x3b, 0xab, 0x4a, 0xf5,
    0xa6, 0xe9, 0xc7, 0x6a, 0x4b, 0xc0, 0x9e, 0x76, 0xea, 0xe8, 0x99, 0x1e, 0xf5, 0xec, 0xe4, 0x5a,
];

impl Beacon {
    /// When `round` is due, in seconds since 1970.
    #[must_use]
    pub fn due(&self, round: u64) -> u64 {
        self.genesis_unix.saturating_add(round.saturating_sub(1).saturating_mul(self.period))
    }

    /// The round to encrypt for when something is to open at `unix` (seconds since 1970): `(unix - genesis) / period`,
    /// at least 1. It is the last but one due at that time, as the official package has it (bittensor-core,
    /// timelock/mod.rs).
    #[must_use]
    pub fn opening_round(&self, unix: u64) -> u64 {
        (unix.saturating_sub(self.genesis_unix) / self.period.max(1)).max(1)
    }

    /// Encrypts for a round. `rng` gives the key, the nonce and the blinding: the same state of it must never serve two
    /// different plaintexts.
    ///
    /// # Errors
    /// [`TimelockError::PublicKey`]; [`TimelockError::Plaintext`] past AES-GCM's 64 GiB.
    pub fn encrypt<R: RngCore + CryptoRng>(
        &self,
        round: u64,
        plaintext: &[u8],
        rng: &mut R,
    ) -> Result<Ciphertext, TimelockError> {
        let public_key = point::<G2Affine>(&self.public_key).ok_or(TimelockError::PublicKey)?;
        let mut key = Zeroizing::new([0; HASH]);
        rng.fill_bytes(&mut *key);
        let input = Input::new(*key).map_err(|_| TimelockError::Plaintext)?;
        let wrapped: Wrapped<TinyBLS381> = identity(round).encrypt(&input, public_key.into_group(), &mut *rng);
        let sealed = AESGCMBlockCipherProvider::encrypt(plaintext, *key, rng).map_err(|_| TimelockError::Plaintext)?;
        let nonce = sealed.nonce.try_into().map_err(|_| TimelockError::Plaintext)?;
        Ok(Ciphertext { u: wrapped.u.into_affine(), v: wrapped.v, w: wrapped.w, sealed: sealed.ciphertext, nonce })
    }
}

impl fmt::Debug for Beacon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beacon")
            .field("public_key", &hex::encode(self.public_key))
            .field("genesis_unix", &self.genesis_unix)
            .field("period", &self.period)
            .finish()
    }
}

/// What a round's number is signed and encrypted for: SHA-256 of it as a big-endian `u64`, hashed to G1 with quicknet's
/// domain separation.
fn identity(round: u64) -> Identity {
    Identity::new(b"", &Sha256::digest(round.to_be_bytes()))
}

/// A point in its one compressed form; not the zero, and in the group of prime order.
fn point<P: AffineRepr + CanonicalDeserialize + CanonicalSerialize>(bytes: &[u8]) -> Option<P> {
    let point = P::deserialize_compressed(bytes).ok()?;
    let mut again = Vec::with_capacity(bytes.len());
    point.serialize_compressed(&mut again).ok()?;
    (!point.is_zero() && again == bytes).then_some(point)
}

fn compressed<P: CanonicalSerialize, const N: usize>(point: &P) -> [u8; N] {
    let mut bytes = [0; N];
    // Writing a point of a group into its own size can't fail.
    let written = point.serialize_compressed(bytes.as_mut_slice());
    debug_assert!(written.is_ok());
    bytes
}

/// Bytes encrypted for a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ciphertext {
    u: G2Affine,
    v: [u8; HASH],
    w: [u8; HASH],
    /// The AES-256-GCM ciphertext with its tag.
    sealed: Vec<u8>,
    nonce: [u8; NONCE],
}

impl Ciphertext {
    /// The chain's layout (arkworks, compressed; lengths are little-endian `u64`): `U[96] | 32 | V[32] | 32 | W[32] |
    /// len(body) | body | 8 | "AES_GCM_"`, where body is `len(sealed) | sealed | 12 | nonce[12]`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let body = 8 + self.sealed.len() + 8 + NONCE;
        let mut bytes = Vec::with_capacity(PUBLIC_KEY_BYTES + 2 * (8 + HASH) + 8 + body + 8 + SUITE.len());
        bytes.extend(compressed::<_, PUBLIC_KEY_BYTES>(&self.u));
        let mut counted = |part: &[u8]| {
            bytes.extend((part.len() as u64).to_le_bytes());
            bytes.extend(part);
        };
        counted(&self.v);
        counted(&self.w);
        let mut inner = Vec::with_capacity(body);
        inner.extend((self.sealed.len() as u64).to_le_bytes());
        inner.extend(&self.sealed);
        inner.extend((NONCE as u64).to_le_bytes());
        inner.extend(self.nonce);
        counted(&inner);
        counted(SUITE);
        bytes
    }

    /// Reads the layout of [`Ciphertext::to_bytes`], to the last byte and in its one form.
    ///
    /// # Errors
    /// [`TimelockError::TooLong`] past [`MAX_CIPHERTEXT_BYTES`]; [`TimelockError::Layout`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TimelockError> {
        if bytes.len() > MAX_CIPHERTEXT_BYTES {
            return Err(TimelockError::TooLong { bytes: bytes.len() });
        }
        let mut outer = Parts(bytes);
        let u = outer.take(PUBLIC_KEY_BYTES).and_then(point).ok_or(TimelockError::Layout("U is no point of G2"))?;
        let v = outer.counted_array().ok_or(TimelockError::Layout("V is not 32 bytes"))?;
        let w = outer.counted_array().ok_or(TimelockError::Layout("W is not 32 bytes"))?;
        let mut body = Parts(outer.counted().ok_or(TimelockError::Layout("the body is cut off"))?);
        let suite = outer.counted().ok_or(TimelockError::Layout("the cipher suite is cut off"))?;
        if suite != SUITE {
            return Err(TimelockError::Layout("the cipher suite is not AES_GCM_"));
        }
        let sealed = body.counted().ok_or(TimelockError::Layout("the sealed bytes are cut off"))?;
        if sealed.len() < TAG {
            return Err(TimelockError::Layout("the sealed bytes have no tag"));
        }
        let nonce = body.counted_array().ok_or(TimelockError::Layout("the nonce is not 12 bytes"))?;
        if !(outer.0.is_empty() && body.0.is_empty()) {
            return Err(TimelockError::Layout("bytes follow where it ends"));
        }
        Ok(Self { u, v, w, sealed: sealed.to_vec(), nonce })
    }

    /// Reads it with the signature that the beacon published for its round.
    ///
    /// # Errors
    /// [`TimelockError::Signature`]; [`TimelockError::Sealed`].
    pub fn decrypt(&self, signature: &[u8; SIGNATURE_BYTES]) -> Result<Vec<u8>, TimelockError> {
        let signature = point::<G1Affine>(signature).ok_or(TimelockError::Signature)?;
        let wrapped = Wrapped::<TinyBLS381> { u: G2Projective::from(self.u), v: self.v, w: self.w };
        let key = IBESecret::<TinyBLS381>(signature.into_group()).decrypt(&wrapped);
        let key = Zeroizing::new(key.map_err(|_| TimelockError::Sealed)?);
        let sealed = AESOutput { ciphertext: self.sealed.clone(), nonce: self.nonce.to_vec() };
        AESGCMBlockCipherProvider::decrypt(sealed, *key).map_err(|_| TimelockError::Sealed)
    }
}

/// What is still to be read.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(part)
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let length = u64::from_le_bytes(self.take(8)?.try_into().ok()?);
        self.take(usize::try_from(length).ok()?)
    }

    fn counted_array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.counted()?.try_into().ok()
    }
}

/// A beacon's secret key, for a chain of one's own.
pub struct BeaconKey(Fr);

impl BeaconKey {
    /// The key that a seed stands for.
    #[must_use]
    pub fn from_seed(seed: &[u8]) -> Self {
        let mut hash = Sha256::new_with_prefix(b"prism beacon");
        hash.update(seed);
        Self(Fr::from_be_bytes_mod_order(&hash.finalize()))
    }

    /// The public key, as in [`Beacon::public_key`].
    #[must_use]
    pub fn public_key(&self) -> [u8; PUBLIC_KEY_BYTES] {
        compressed(&(G2Projective::generator() * self.0).into_affine())
    }

    /// What the beacon publishes for a round.
    #[must_use]
    pub fn sign(&self, round: u64) -> [u8; SIGNATURE_BYTES] {
        compressed(&identity(round).extract::<TinyBLS381>(self.0).0.into_affine())
    }
}

impl Drop for BeaconKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for BeaconKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BeaconKey").field("public_key", &hex::encode(self.public_key())).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    /// quicknet's round 1000.
    const PULSE: &str =
        "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39";

    /// `hello` for that round, encrypted by the official package (bittensor-core 0.1.5).
    const OFFICIAL: &str = "a883c0f81f70044a89f74d3bbe975acc3afad895b3803554293dd848e44852a5d0d4953d95f7d6deb7753be86a14\
        bc240ad01d32239dc0d94ce5fb2e40452798df279b668e9d4f72c077c3ea31937caebb4ed9769508dbc711056cb8edf2e963200000000000\
        0000e3a63ee9052f52fc0e2f00c5aeddde4f4183088357af4d780181baea6d750cc920000000000000002fd2f93afe4b0ccd79d8c9fa0ccf\
        ed982a2beaef3fb0a5a9a1ed2c9afe78e73e31000000000000001500000000000000529033cd497ae161be2cbb5ca9663ca840dd6535b20c\
        00000000000000aec3edd341ec4634a1b59d3308000000000000004145535f47434d5f";

    fn official() -> Vec<u8> {
        hex::decode(OFFICIAL).unwrap()
    }

    fn pulse() -> [u8; SIGNATURE_BYTES] {
        hex::decode(PULSE).unwrap().try_into().unwrap()
    }

    fn rng() -> StdRng {
        StdRng::seed_from_u64(7)
    }

    #[test]
    fn what_the_official_package_encrypted_opens_here_and_keeps_its_bytes() {
        let ciphertext = Ciphertext::from_bytes(&official()).unwrap();
        assert_eq!(ciphertext.to_bytes(), official());
        assert_eq!(ciphertext.decrypt(&pulse()).unwrap(), b"hello");
    }

    #[test]
    fn what_is_encrypted_here_has_the_official_layout_and_opens_with_the_published_pulse() {
        let ours = QUICKNET.encrypt(1000, b"hello", &mut rng()).unwrap();
        let bytes = ours.to_bytes();
        assert_eq!(bytes.len(), official().len());
        // All that isn't key, nonce or ciphertext: the lengths and the suite.
        for part in [96..104, 136..144, 176..184, 184..192, 213..221, 233..249] {
            assert_eq!(bytes[part.clone()], official()[part]);
        }
        assert_eq!(Ciphertext::from_bytes(&bytes).unwrap(), ours);
        assert_eq!(ours.decrypt(&pulse()).unwrap(), b"hello");
    }

    #[test]
    fn the_same_randomness_gives_the_same_bytes_and_other_randomness_others() {
        let encrypt = |rng: &mut StdRng| QUICKNET.encrypt(9, b"hello", rng).unwrap().to_bytes();
        let mut going = rng();
        assert_eq!(encrypt(&mut rng()), encrypt(&mut going));
        assert_ne!(encrypt(&mut rng()), encrypt(&mut going));
    }

    #[test]
    fn a_key_of_one_s_own_opens_its_own_rounds_and_no_other() {
        let key = BeaconKey::from_seed(b"a");
        let beacon = Beacon { public_key: key.public_key(), genesis_unix: 0, period: 3 };
        let ciphertext = beacon.encrypt(5, b"weights", &mut rng()).unwrap();
        assert_eq!(ciphertext.decrypt(&key.sign(5)).unwrap(), b"weights");
        for other in [key.sign(6), BeaconKey::from_seed(b"b").sign(5), pulse()] {
            assert_eq!(ciphertext.decrypt(&other), Err(TimelockError::Sealed));
        }
        let mut changed = ciphertext.clone();
        changed.sealed[0] ^= 1;
        assert_eq!(changed.decrypt(&key.sign(5)), Err(TimelockError::Sealed));
        assert_eq!(ciphertext.decrypt(&[7; 48]), Err(TimelockError::Signature));
        assert!(!format!("{key:?}").contains(&key.0.to_string()));
    }

    #[test]
    fn a_public_key_off_the_curve_or_zero_encrypts_nothing() {
        let mut zero = [0; PUBLIC_KEY_BYTES];
        zero[0] = 0xc0;
        for public_key in [[1; PUBLIC_KEY_BYTES], zero] {
            let beacon = Beacon { public_key, ..QUICKNET };
            assert_eq!(beacon.encrypt(1, b"", &mut rng()), Err(TimelockError::PublicKey));
        }
    }

    #[test]
    fn a_ciphertext_in_another_layout_is_refused() {
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = official();
            change(&mut bytes);
            Ciphertext::from_bytes(&bytes).unwrap_err().to_string()
        };
        assert!(refused(&|b| b[0] ^= 0x80).contains("U is no point"));
        assert!(refused(&|b| b[96] = 31).contains("V is not 32 bytes"));
        assert!(refused(&|b| b[136] = 33).contains("W is not 32 bytes"));
        assert!(refused(&|b| b[183] = 0xff).contains("the body is cut off"));
        assert!(refused(&|b| b[184] = 15).contains("no tag"));
        assert!(refused(&|b| b[213] = 11).contains("the nonce is not 12 bytes"));
        assert!(refused(&|b| *b.last_mut().unwrap() = b'x').contains("cipher suite is not"));
        assert!(refused(&|b| b.push(0)).contains("bytes follow"));
        assert!(refused(&|b| b.resize(5001, 0)).contains("5001 bytes"));
    }

    #[test]
    fn rounds_are_due_every_period_and_the_opening_one_is_out_by_then() {
        assert_eq!(QUICKNET.due(1), 1_692_803_367);
        assert_eq!(QUICKNET.due(1000), 1_692_803_367 + 999 * 3);
        assert_eq!(QUICKNET.opening_round(0), 1);
        assert_eq!(QUICKNET.opening_round(1_692_803_367 + 30), 10);
        assert_eq!(QUICKNET.opening_round(1_692_803_367 + 32), 10);
        for unix in 1_692_803_370..1_692_803_470 {
            assert!(QUICKNET.due(QUICKNET.opening_round(unix)) <= unix);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_bytes_panic_and_none_are_read_in_two_forms(
            at in 0_usize..249, bit in 0_u32..8, cut in 0_usize..249, noise: Vec<u8>,
        ) {
            let mut bytes = official();
            bytes[at] ^= 1 << bit;
            if let Ok(read) = Ciphertext::from_bytes(&bytes) {
                prop_assert_eq!(read.to_bytes(), bytes);
            }
            prop_assert!(Ciphertext::from_bytes(&official()[..cut]).is_err());
            prop_assert!(Ciphertext::from_bytes(&noise).is_err());
        }
    }
}
