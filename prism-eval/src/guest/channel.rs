//! The host's end of the channel: requests, answers, parts. Bounds are checked before memory is taken; deadlines are
//! the caller's.
use super::protocol::{Failed, Kind, Length, MAX_HEADER, PART, PREAMBLE, Preamble, ProtocolError};
use prism_core::{
    channel::{ByteSink, ByteSource},
    sandbox::Channel,
};
use serde::{Serialize, de::DeserializeOwned};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Most characters of a guest's own message that are kept.
const MAX_MESSAGE: usize = 4096;

/// One channel and its count of exchanges. After an error, or a future that was dropped half way, it is good for nothing.
#[derive(Debug)]
pub(super) struct Link {
    source: Box<dyn ByteSource>,
    sink: Box<dyn ByteSink>,
    sequence: u32,
}

type Result<T> = std::result::Result<T, ProtocolError>;

impl Link {
    pub(super) fn new((source, sink): Channel) -> Self {
        Self { source, sink, sequence: 0 }
    }

    /// One request and its answer, whose blob must have exactly `due` bytes.
    pub(super) async fn ask<A: DeserializeOwned>(
        &mut self,
        kind: Kind,
        header: &(impl Serialize + Sync),
        blob: &[u8],
        due: usize,
    ) -> Result<(A, Vec<u8>)> {
        self.request(kind, header, blob).await?;
        let preamble = self.preamble().await?;
        self.answer(kind, preamble, due).await
    }

    /// A request whose answer parts precede, at most `limit` bytes in all; they go to `into`.
    pub(super) async fn fetch<A: DeserializeOwned>(
        &mut self,
        kind: Kind,
        limit: u64,
        into: &mut (impl AsyncWrite + Unpin + Send),
    ) -> Result<(A, u64)> {
        self.request(kind, &super::protocol::Empty {}, &[]).await?;
        let mut total = 0u64;
        loop {
            let preamble = self.preamble().await?;
            if preamble.kind != Kind::Part.code() {
                into.flush().await.map_err(ProtocolError::Spool)?;
                let (answer, _) = self.answer(kind, preamble, 0).await?;
                return Ok((answer, total));
            }
            bounded("a part", preamble.blob.into(), PART as u64)?;
            total += u64::from(preamble.blob);
            bounded("parts", total, limit)?;
            let (_, part) = self.rest(preamble).await?;
            into.write_all(&part).await.map_err(ProtocolError::Spool)?;
        }
    }

    /// A request that parts follow, `bytes` in all, and its answer.
    pub(super) async fn give<A: DeserializeOwned>(
        &mut self,
        kind: Kind,
        bytes: u64,
        from: &mut (impl AsyncRead + Unpin + Send),
    ) -> Result<A> {
        self.request(kind, &Length { bytes }, &[]).await?;
        let mut left = bytes;
        let mut part = vec![0; PART];
        while left > 0 {
            let count = usize::try_from(left.min(PART as u64)).unwrap_or(PART);
            let Some(part) = part.get_mut(..count) else { break };
            from.read_exact(part).await.map_err(ProtocolError::Spool)?;
            self.frame(Kind::Part, b"{}", part).await?;
            left -= count as u64;
        }
        let preamble = self.preamble().await?;
        Ok(self.answer(kind, preamble, 0).await?.0)
    }

    async fn request(&mut self, kind: Kind, header: &(impl Serialize + Sync), blob: &[u8]) -> Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let header = serde_json::to_vec(header).map_err(|e| ProtocolError::Malformed(e.to_string()))?;
        bounded("a header", header.len() as u64, MAX_HEADER as u64)?;
        self.frame(kind, &header, blob).await
    }

    async fn frame(&mut self, kind: Kind, header: &[u8], blob: &[u8]) -> Result<()> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len());
        let (Ok(header_bytes), Ok(blob_bytes)) = (length(header), length(blob)) else {
            return Err(ProtocolError::Malformed(format!("a blob of {} bytes fits no frame", blob.len())));
        };
        let preamble = Preamble { sequence: self.sequence, kind: kind.code(), header: header_bytes, blob: blob_bytes };
        let mut start = Vec::with_capacity(PREAMBLE + header.len());
        start.extend(preamble.encode());
        start.extend(header);
        self.sink.write_all(&start).await.map_err(broken)?;
        if blob.is_empty() { Ok(()) } else { self.sink.write_all(blob).await.map_err(broken) }
    }

    async fn preamble(&mut self) -> Result<Preamble> {
        let mut bytes = [0; PREAMBLE];
        self.exactly(&mut bytes).await?;
        let preamble = Preamble::decode(&bytes)?;
        if preamble.sequence != self.sequence {
            let (got, due) = (preamble.sequence, self.sequence);
            return Err(ProtocolError::Malformed(format!("a frame of exchange {got} in exchange {due}")));
        }
        Ok(preamble)
    }

    /// The answer that this preamble begins.
    async fn answer<A: DeserializeOwned>(
        &mut self,
        kind: Kind,
        preamble: Preamble,
        due: usize,
    ) -> Result<(A, Vec<u8>)> {
        if preamble.kind == Kind::Failed.code() {
            bounded("a blob", preamble.blob.into(), 0)?;
            let (header, _) = self.rest(preamble).await?;
            let Failed { message } = read(&header)?;
            return Err(ProtocolError::Failed(message.chars().take(MAX_MESSAGE).collect()));
        }
        if preamble.kind != kind.answer() {
            let text = format!("a frame of kind {:#04x} as answer to {}", preamble.kind, kind.name());
            return Err(ProtocolError::Malformed(text));
        }
        if preamble.blob as usize != due {
            let text = format!("{} bytes as answer to {}, expected {due}", preamble.blob, kind.name());
            return Err(ProtocolError::Malformed(text));
        }
        let (header, blob) = self.rest(preamble).await?;
        Ok((read(&header)?, blob))
    }

    /// Header and blob after a preamble whose lengths were checked.
    async fn rest(&mut self, preamble: Preamble) -> Result<(Vec<u8>, Vec<u8>)> {
        let mut header = vec![0; preamble.header as usize];
        self.exactly(&mut header).await?;
        let mut blob = vec![0; preamble.blob as usize];
        self.exactly(&mut blob).await?;
        Ok((header, blob))
    }

    async fn exactly(&mut self, into: &mut [u8]) -> Result<()> {
        let mut filled = 0;
        while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.source.read(rest).await.map_err(broken)? {
                0 => return Err(ProtocolError::Closed),
                count => filled += count,
            }
        }
        Ok(())
    }
}

fn read<A: DeserializeOwned>(header: &[u8]) -> Result<A> {
    serde_json::from_slice(header).map_err(|e| ProtocolError::Malformed(format!("a header that is not due: {e}")))
}

fn bounded(what: &'static str, got: u64, limit: u64) -> Result<()> {
    if got <= limit { Ok(()) } else { Err(ProtocolError::Oversized { what, got, limit }) }
}

/// A pipe whose other end is gone is an end like any other.
fn broken(error: io::Error) -> ProtocolError {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => {
            ProtocolError::Closed
        }
        _ => ProtocolError::Channel(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::protocol::{Claimed, Empty, Predict, Saved},
        *,
    };
    use async_trait::async_trait;
    use futures::executor::block_on;
    use prism_core::channel::Memory;
    use proptest::prelude::*;
    use std::sync::{Arc, Mutex};

    #[derive(Debug, Default, Clone)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    #[async_trait]
    impl ByteSink for Kept {
        async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0.lock().unwrap().extend(bytes);
            Ok(())
        }
        async fn close(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A guest that has said all it will say.
    fn guest(said: Vec<u8>) -> (Link, Kept) {
        let kept = Kept::default();
        (Link::new((Box::new(Memory::new(said)), Box::new(kept.clone()))), kept)
    }

    fn frame(sequence: u32, kind: u8, header: &str, blob: &[u8]) -> Vec<u8> {
        let (h, b) = (header.len() as u32, blob.len() as u32);
        let preamble = Preamble { sequence, kind, header: h, blob: b }.encode();
        [&preamble[..], header.as_bytes(), blob].concat()
    }

    const ROWS: Predict = Predict { rows: 1, columns: 3, seed: 5 };

    fn claim(said: Vec<u8>) -> Result<(Claimed, Vec<u8>)> {
        block_on(guest(said).0.ask(Kind::Claim, &ROWS, &[1, 2, 3], 8))
    }

    #[test]
    fn an_answer_of_the_kind_and_length_that_is_due_is_taken() {
        let said = frame(1, Kind::Claim.answer(), r#"{"rows":1,"positions":2}"#, &[7; 8]);
        let (mut link, kept) = guest(said);
        let (claimed, blob): (Claimed, _) = block_on(link.ask(Kind::Claim, &ROWS, &[1, 2, 3], 8)).unwrap();
        assert_eq!((claimed.rows, claimed.positions, blob), (1, 2, vec![7; 8]));
        assert_eq!(*kept.0.lock().unwrap(), frame(1, 3, r#"{"rows":1,"columns":3,"seed":5}"#, &[1, 2, 3]));
    }

    #[test]
    fn what_is_not_due_is_malformed() {
        let header = r#"{"rows":1,"positions":2}"#;
        let kind = Kind::Claim.answer();
        for said in [
            frame(2, kind, header, &[7; 8]),
            frame(1, Kind::Claim.code(), header, &[7; 8]),
            frame(1, Kind::Logits.answer(), header, &[7; 8]),
            frame(1, kind, header, &[7; 4]),
            frame(1, kind, header, &[7; 12]),
            frame(1, kind, r#"{"rows":1}"#, &[7; 8]),
            frame(1, kind, r#"{"rows":1,"positions":2,"more":3}"#, &[7; 8]),
            frame(1, kind, "[", &[7; 8]),
            frame(1, Kind::Part.code(), "{}", &[7; 8]),
        ] {
            assert!(matches!(claim(said.clone()), Err(ProtocolError::Malformed(_))), "{said:?}");
        }
    }

    #[test]
    fn lengths_over_their_bound_are_refused_before_they_are_read() {
        let long = Preamble { sequence: 1, kind: Kind::Claim.answer(), header: MAX_HEADER as u32 + 1, blob: 8 };
        assert!(matches!(claim(long.encode().to_vec()), Err(ProtocolError::Oversized { what: "a header", .. })));
        let huge = Preamble { sequence: 1, kind: Kind::Claim.answer(), header: 2, blob: u32::MAX };
        assert!(matches!(claim(huge.encode().to_vec()), Err(ProtocolError::Oversized { what: "a blob", .. })));
    }

    #[test]
    fn a_channel_that_ends_early_is_closed_and_a_guest_that_gives_up_says_why() {
        let whole = frame(1, Kind::Claim.answer(), r#"{"rows":1,"positions":2}"#, &[7; 8]);
        for end in 0..whole.len() {
            assert!(matches!(claim(whole[..end].to_vec()), Err(ProtocolError::Closed)), "{end}");
        }
        let said = frame(1, Kind::Failed.code(), r#"{"message":"no model"}"#, &[]);
        assert!(matches!(claim(said), Err(ProtocolError::Failed(text)) if text == "no model"));
    }

    #[test]
    fn parts_are_taken_up_to_their_bound() {
        let part = |bytes: &[u8]| frame(1, Kind::Part.code(), "{}", bytes);
        let end = frame(1, Kind::Save.answer(), r#"{"bytes":6}"#, &[]);
        let said = [part(b"abc"), part(b""), part(b"def"), end].concat();
        let fetch = |limit| {
            let mut into = Vec::new();
            let fetched = block_on(guest(said.clone()).0.fetch::<Length>(Kind::Save, limit, &mut into));
            (fetched.map(|(length, total)| (length.bytes, total)), into)
        };
        let (fetched, into) = fetch(6);
        assert_eq!((fetched.unwrap(), into.as_slice()), ((6, 6), &b"abcdef"[..]));
        assert!(matches!(fetch(5).0, Err(ProtocolError::Oversized { what: "parts", got: 6, limit: 5 })));
    }

    #[test]
    fn what_is_given_goes_in_parts_of_bounded_length() {
        let state: Vec<u8> = (0..PART + 10).map(|i| i as u8).collect();
        let (mut link, kept) = guest(frame(1, Kind::Load.answer(), "{}", &[]));
        let Empty {} = block_on(link.give(Kind::Load, state.len() as u64, &mut state.as_slice())).unwrap();
        let length = format!("{{\"bytes\":{}}}", state.len());
        let parts = [
            frame(1, Kind::Load.code(), &length, &[]),
            frame(1, Kind::Part.code(), "{}", &state[..PART]),
            frame(1, Kind::Part.code(), "{}", &state[PART..]),
        ];
        assert!(*kept.0.lock().unwrap() == parts.concat());
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_guest_break_the_host(said in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = claim(said.clone());
            let mut into = Vec::new();
            let _ = block_on(guest(said).0.fetch::<Saved>(Kind::Checkpoint, 100, &mut into));
            prop_assert!(into.len() <= 100);
        }

        #[test]
        fn frames_in_odd_order_never_exceed_the_bound(
            kinds in proptest::collection::vec((0u8..=0x90, 0usize..40), 0..10),
        ) {
            let said: Vec<u8> = kinds.iter().flat_map(|(kind, size)| frame(1, *kind, "{}", &vec![1; *size])).collect();
            let mut into = Vec::new();
            let _ = block_on(guest(said).0.fetch::<Empty>(Kind::Save, 64, &mut into));
            prop_assert!(into.len() <= 64);
        }
    }
}
