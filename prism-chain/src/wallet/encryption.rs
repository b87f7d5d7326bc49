//! `$NACL`: a key from a password by Argon2i, then XSalsa20-Poly1305 (bittensor-wallet, keyfile.rs: PyNaCl's
//! `argon2i.kdf` with the sensitive limits, and `secretbox`).
use super::{error::KeyfileError, password::Password};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use crypto_secretbox::{KeyInit as _, XSalsa20Poly1305, aead::Aead as _};
use zeroize::{Zeroize as _, Zeroizing};

/// What such a file begins with.
pub(super) const MARK: &[u8] = b"$NACL";
/// Bytes of a nonce.
pub(super) const NONCE: usize = 24;
/// Bytes of the authentication tag, which stands before the ciphertext.
const TAG: usize = 16;

/// The same for every wallet (bittensor-wallet, `NACL_SALT`).
const SALT: [u8; 16] = [0x13, 0x71, 0x83, 0xdf, 0xf1, 0x5a, 0x09, 0xbc, 0x9c, 0x90, 0xb5, 0x51, 0x87, 0x39, 0xe9, 0xb1];
/// Passes (libsodium, `OPSLIMIT_SENSITIVE` of argon2i).
const PASSES: u32 = 8;
/// KiB of memory (libsodium, `MEMLIMIT_SENSITIVE` of argon2i).
const MEMORY: u32 = 512 * 1024;

/// The key that a password stands for.
pub(super) fn derive(password: &Password) -> Result<Zeroizing<[u8; 32]>, KeyfileError> {
    if password.bytes().is_empty() {
        return Err(KeyfileError::EmptyPassword);
    }
    let params = Params::new(MEMORY, PASSES, 1, Some(32)).map_err(|_| KeyfileError::Memory)?;
    let mut blocks = Vec::new();
    blocks.try_reserve_exact(params.block_count()).map_err(|_| KeyfileError::Memory)?;
    blocks.resize(params.block_count(), Block::default());
    let mut key = Zeroizing::new([0; 32]);
    let argon = Argon2::new(Algorithm::Argon2i, Version::V0x13, params);
    // Fails for inputs that are too long only; both have their bounds.
    let derived = argon.hash_password_into_with_memory(password.bytes(), &SALT, &mut *key, &mut blocks);
    // The last blocks give the key away.
    blocks.zeroize();
    derived.map(|()| key).map_err(|_| KeyfileError::Password)
}

/// The file of these bytes: mark, nonce, tag, ciphertext. No nonce may be used twice under a key.
pub(super) fn seal(key: &[u8; 32], nonce: &[u8; NONCE], plain: &[u8]) -> Result<Vec<u8>, KeyfileError> {
    let boxed = XSalsa20Poly1305::new(key.into()).encrypt(nonce.into(), plain).map_err(|_| KeyfileError::Memory)?;
    Ok([MARK, nonce.as_slice(), boxed.as_slice()].concat())
}

/// The bytes in such a file.
pub(super) fn open(key: &[u8; 32], file: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyfileError> {
    let (nonce, boxed) = parts(file)?;
    let plain = XSalsa20Poly1305::new(key.into()).decrypt(nonce.into(), boxed);
    plain.map(Zeroizing::new).map_err(|_| KeyfileError::Password)
}

/// Nonce, and tag with ciphertext.
pub(super) fn parts(file: &[u8]) -> Result<(&[u8; NONCE], &[u8]), KeyfileError> {
    let rest = file.strip_prefix(MARK).ok_or(KeyfileError::Unknown)?;
    let (nonce, boxed) = rest.split_first_chunk().ok_or(KeyfileError::Truncated)?;
    if boxed.len() < TAG { Err(KeyfileError::Truncated) } else { Ok((nonce, boxed)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vector of NaCl's `secretbox` (tests/secretbox.c of NaCl 20110221).
    #[test]
    fn a_sealed_file_is_mark_nonce_tag_and_ciphertext_of_nacl() {
        let key: [u8; 32] = hex::decode("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389")
            .unwrap()
            .try_into()
            .unwrap();
        let nonce: [u8; 24] =
            hex::decode("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37").unwrap().try_into().unwrap();
        let plain = hex::decode(
            "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01\
             233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd\
             4924ca1c60902e52f0a089bc76897040e082f937763848645e0705",
        )
        .unwrap();
        let file = seal(&key, &nonce, &plain).unwrap();
        assert_eq!(file.len(), plain.len() + 45);
        assert_eq!(&file[..29], [MARK, nonce.as_slice()].concat());
        let expected = "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186a\
                        c0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae\
                        90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74\
                        e355a5";
        assert_eq!(hex::encode(&file[29..]), expected);
        assert_eq!(*open(&key, &file).unwrap(), plain);
    }

    #[test]
    fn a_changed_or_cut_file_does_not_open() {
        let file = seal(&[1; 32], &[2; NONCE], b"secret").unwrap();
        assert_eq!(open(&[9; 32], &file), Err(KeyfileError::Password));
        for place in MARK.len()..file.len() {
            let mut changed = file.clone();
            changed[place] ^= 1;
            assert_eq!(open(&[1; 32], &changed), Err(KeyfileError::Password), "{place}");
        }
        for length in MARK.len()..MARK.len() + NONCE + TAG {
            assert_eq!(open(&[1; 32], &file[..length]), Err(KeyfileError::Truncated), "{length}");
        }
    }
}
