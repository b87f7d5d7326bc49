//! Against a real server that misbehaves as told.
use super::*;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap as Headers, StatusCode as Status, Uri, header},
    response::{IntoResponse as _, Response as Answer},
    routing::get,
};
use prism_core::{Error, Kind};
use std::{
    collections::BTreeMap as Map,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

const REVISION: &str = "87f09149ef4734204d70ed1d046ddc9ca3f2b8f9";
const DATASET: &str = "HuggingFaceFW/fineweb-edu";

/// What a server does with a request for a file.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Does {
    Serve,
    /// As large files are.
    Redirect,
    /// Ends the connection after so many bytes.
    Drop(usize),
    /// Goes silent after so many bytes.
    Stall(usize),
    /// Other bytes, as many.
    Other,
    /// Says that it has so many bytes more, and has them.
    Longer(usize),
    /// Sends so many bytes more than there are, and says nothing before.
    Overflow(usize),
    /// Knows no ranges.
    Whole,
    /// Goes on elsewhere than asked.
    WrongRange,
    Status(u16, Option<u64>),
}

#[derive(Debug)]
struct World {
    files: Map<String, Vec<u8>>,
    /// What it does with the requests for a file, one after the other; then it serves.
    script: Mutex<Vec<Does>>,
    seen: Mutex<Vec<(String, Option<String>, bool)>>,
    list: Mutex<Option<String>>,
    elsewhere: Option<SocketAddr>,
}

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7 % 251) as u8).collect()
}

#[allow(clippy::unused_async)] // As axum asks.
async fn answer(State(world): State<Arc<World>>, headers: Headers, uri: Uri) -> Answer {
    let path = uri.path().to_owned();
    let range = headers.get(header::RANGE).map(|range| range.to_str().unwrap().to_owned());
    let with_token = headers.contains_key(header::AUTHORIZATION);
    world.seen.lock().unwrap().push((path.clone(), range.clone(), with_token));
    if path.starts_with("/api/") {
        return list(&world, &path, uri.query().unwrap_or_default());
    }
    let name = path.rsplit('/').next().unwrap();
    let Some(bytes) = world.files.get(name).cloned() else { return Status::NOT_FOUND.into_response() };
    let does = {
        let mut script = world.script.lock().unwrap();
        if script.is_empty() || path.starts_with("/cdn/") { Does::Serve } else { script.remove(0) }
    };
    let from: usize = range.map_or(0, |range| range[6..range.len() - 1].parse().unwrap());
    let part = |from: usize, body: Body| {
        let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
        (Status::PARTIAL_CONTENT, [(header::CONTENT_RANGE, range)], body).into_response()
    };
    let some = |count: usize| Ok::<_, io::Error>(Bytes::from(bytes[from..(from + count).min(bytes.len())].to_vec()));
    let rest = (bytes.len() - from).to_string();
    let broken = |body: Body| match from {
        0 => ([(header::CONTENT_LENGTH, rest.clone())], body).into_response(),
        _ => part(from, body),
    };
    match does {
        Does::Serve if from == 0 => bytes.into_response(),
        Does::Serve => part(from, Body::from(bytes[from..].to_vec())),
        Does::Redirect => {
            let to = match world.elsewhere {
                Some(address) => format!("http://{address}/cdn/{name}?signature=secret"),
                None => format!("/cdn/{name}"),
            };
            (Status::FOUND, [(header::LOCATION, to)]).into_response()
        }
        Does::Drop(count) => {
            // What was sent before has time to leave.
            let end = futures::stream::once(async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(io::Error::other("dropped"))
            });
            broken(Body::from_stream(futures::stream::iter([some(count)]).chain(end)))
        }
        Does::Stall(count) => {
            broken(Body::from_stream(futures::stream::iter([some(count)]).chain(futures::stream::pending())))
        }
        Does::Other => bytes.iter().map(|byte| byte ^ 1).collect::<Vec<u8>>().into_response(),
        Does::Longer(more) => [bytes, vec![0; more]].concat().into_response(),
        Does::Overflow(more) => {
            let parts = [Ok::<_, io::Error>(Bytes::from(bytes.clone())), Ok(Bytes::from(vec![0; more]))];
            Body::from_stream(futures::stream::iter(parts)).into_response()
        }
        Does::Whole => bytes.into_response(),
        Does::WrongRange => part(0, Body::from(bytes.clone())),
        Does::Status(status, wait) => {
            let status = Status::from_u16(status).unwrap();
            match wait {
                Some(wait) => (status, [(header::RETRY_AFTER, wait.to_string())]).into_response(),
                None => status.into_response(),
            }
        }
    }
}

/// Two files a page.
fn list(world: &World, path: &str, query: &str) -> Answer {
    if let Some(list) = &*world.list.lock().unwrap() {
        return list.clone().into_response();
    }
    if !path.ends_with(&format!("/api/datasets/{DATASET}/tree/{REVISION}/sample/10BT")) {
        return Status::NOT_FOUND.into_response();
    }
    let page: usize = query.strip_prefix("cursor=").map_or(0, |page| page.parse().unwrap());
    let entry = |(name, bytes): (&String, &Vec<u8>)| {
        serde_json::json!({
            "type": "file", "oid": "0", "size": bytes.len(), "path": format!("sample/10BT/{name}"),
            "lfs": { "oid": Digest::of(bytes).to_string(), "size": bytes.len(), "pointerSize": 134 }
        })
    };
    let mut entries: Vec<_> = world.files.iter().skip(page * 2).take(2).map(entry).collect();
    entries.push(serde_json::json!({ "type": "directory", "oid": "0", "size": 0, "path": "sample/10BT/more" }));
    let body = serde_json::to_string(&entries).unwrap();
    if (page + 1) * 2 < world.files.len() {
        let next = format!("<{path}?cursor={}>; rel=\"next\"", page + 1);
        return ([(header::LINK, next)], body).into_response();
    }
    body.into_response()
}

async fn serve(files: &[(&str, Vec<u8>)], script: &[Does], elsewhere: Option<SocketAddr>) -> (SocketAddr, Arc<World>) {
    let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect();
    let (script, seen) = (Mutex::new(script.to_vec()), Mutex::new(vec![]));
    let world = Arc::new(World { files, script, seen, list: Mutex::new(None), elsewhere });
    let router = Router::new().fallback(get(answer)).with_state(Arc::clone(&world));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, world)
}

fn hub(address: SocketAddr) -> Hub {
    Hub::new(HubConfig {
        endpoint: format!("http://{address}"),
        stall: Duration::from_millis(400),
        pause: Duration::from_millis(1),
        tries: 3,
        patience: Duration::from_secs(2),
        ..HubConfig::default()
    })
    .unwrap()
}

fn pinned() -> Pinned {
    Pinned::new(DATASET, REVISION).unwrap()
}

/// One file of a server with this script, into this folder.
async fn fetch(script: &[Does], into: &Path) -> (Result<Vec<PathBuf>, HubError>, Arc<World>) {
    let (address, world) = serve(&[("000_00000.parquet", text(10_000))], script, None).await;
    let hub = hub(address);
    let files = hub.list(&pinned(), "sample/10BT").await.unwrap();
    (hub.fetch(&pinned(), &files, into, &|_| {}).await, world)
}

fn ranges(world: &World) -> Vec<Option<String>> {
    let seen = world.seen.lock().unwrap();
    seen.iter().filter(|(path, ..)| path.starts_with("/datasets/")).map(|(_, range, _)| range.clone()).collect()
}

#[tokio::test]
async fn a_list_is_read_page_by_page_and_its_files_fetched_side_by_side() {
    let names = ["a.parquet", "b.parquet", "c.parquet", "d.jsonl", "e.txt"];
    let files = names.map(|name| (name, text(1000 + name.len())));
    let (address, world) = serve(&files, &[Does::Redirect; 4], None).await;
    let hub = hub(address);
    let list = hub.list(&pinned(), &folder_of("sample-10BT").unwrap()).await.unwrap();
    assert_eq!(list.iter().map(RemoteFile::name).collect::<Vec<_>>(), &names[..4]);
    let into = tempfile::tempdir().unwrap();
    let whole = Mutex::new(0);
    let progress = |progress: Progress<'_>| {
        if let Progress::Whole { .. } = progress {
            *whole.lock().unwrap() += 1;
        }
    };
    let paths = hub.fetch(&pinned(), &list, into.path(), &progress).await.unwrap();
    for (path, (name, bytes)) in paths.iter().zip(&files) {
        assert!(path.ends_with(name) && fs::read(path).unwrap() == *bytes);
    }
    assert_eq!(*whole.lock().unwrap(), 4);
    // What is there is verified and not fetched again.
    let asked = world.seen.lock().unwrap().len();
    hub.fetch(&pinned(), &list, into.path(), &progress).await.unwrap();
    assert_eq!(world.seen.lock().unwrap().len(), asked);
    fs::write(into.path().join("a.parquet"), b"mine").unwrap();
    let error = hub.fetch(&pinned(), &list, into.path(), &progress).await.unwrap_err();
    assert!(matches!(&error, HubError::Altered { what, .. } if what.ends_with("a.parquet")), "{error}");
    assert_eq!(fs::read(into.path().join("a.parquet")).unwrap(), b"mine");
}

#[tokio::test]
async fn a_connection_that_is_dropped_or_goes_silent_goes_on_where_it_was() {
    let into = tempfile::tempdir().unwrap();
    // More often than there are tries, for each time something comes.
    let script = [Does::Drop(3000), Does::Drop(2000), Does::Drop(1000), Does::Stall(500), Does::Drop(500)];
    let (paths, world) = fetch(&script, into.path()).await;
    assert_eq!(fs::read(&paths.unwrap()[0]).unwrap(), text(10_000));
    let ranges = ranges(&world);
    assert_eq!(ranges.len(), 6, "{ranges:?}");
    assert!(ranges[0].is_none() && ranges[1..].iter().all(Option::is_some), "{ranges:?}");
    assert_eq!(ranges[1].as_deref(), Some("bytes=3000-"));
}

#[tokio::test]
async fn what_another_program_left_goes_on_and_what_is_wrong_of_it_is_fetched_anew() {
    let into = tempfile::tempdir().unwrap();
    let part = into.path().join("000_00000.parquet.part");
    fs::write(&part, &text(10_000)[..4000]).unwrap();
    let (paths, world) = fetch(&[], into.path()).await;
    assert_eq!(fs::read(&paths.unwrap()[0]).unwrap(), text(10_000));
    assert_eq!(ranges(&world), [Some("bytes=4000-".to_owned())]);
    for left in [vec![9; 4000], vec![9; 10_000], vec![9; 20_000]] {
        let into = tempfile::tempdir().unwrap();
        fs::write(into.path().join("000_00000.parquet.part"), &left).unwrap();
        let (paths, _) = fetch(&[], into.path()).await;
        assert_eq!(fs::read(&paths.unwrap()[0]).unwrap(), text(10_000), "{} bytes", left.len());
    }
    for script in [&[Does::Whole][..], &[Does::WrongRange]] {
        let into = tempfile::tempdir().unwrap();
        fs::write(into.path().join("000_00000.parquet.part"), &text(10_000)[..4000]).unwrap();
        let (paths, _) = fetch(script, into.path()).await;
        assert_eq!(fs::read(&paths.unwrap()[0]).unwrap(), text(10_000), "{script:?}");
    }
}

#[tokio::test]
async fn other_bytes_and_lying_lengths_are_refused_and_nothing_of_them_stays() {
    let refused = async |does: Does| {
        let into = tempfile::tempdir().unwrap();
        let (fetched, _) = fetch(&[does; 5], into.path()).await;
        let left: Vec<_> = fs::read_dir(into.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.is_empty(), "{left:?}");
        fetched.unwrap_err()
    };
    let error = refused(Does::Other).await;
    assert!(matches!(&error, HubError::Altered { what, .. } if what == "sample/10BT/000_00000.parquet"), "{error}");
    for does in [Does::Longer(5), Does::Overflow(5)] {
        let error = refused(does).await;
        assert!(matches!(error, HubError::Length { found: 10_005, bytes: 10_000, .. }), "{does:?}: {error}");
        assert_eq!(Error::from(error).kind(), Kind::Corrupt);
    }
}

#[tokio::test]
async fn refusals_end_at_once_and_a_busy_hub_is_given_the_time_it_asks_for() {
    let into = tempfile::tempdir().unwrap();
    let ended = async |status, wait, kind| {
        let (fetched, world) = fetch(&[Does::Status(status, wait); 9], into.path()).await;
        let error = fetched.unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("sample/10BT/000_00000.parquet: the hub"), "{text}");
        assert_eq!(Error::from(error).kind(), kind, "{text}");
        ranges(&world).len()
    };
    assert_eq!(ended(404, None, Kind::NotFound).await, 1);
    assert_eq!(ended(401, None, Kind::Refused).await, 1);
    assert_eq!(ended(400, None, Kind::Unavailable).await, 1);
    assert_eq!(ended(500, None, Kind::Unavailable).await, 3);
    assert_eq!(ended(429, Some(3600), Kind::Unavailable).await, 1, "longer than anybody waits");
    let (address, _) =
        serve(&[("000_00000.parquet", text(100))], &[Does::Status(429, Some(1)), Does::Status(503, None)], None).await;
    let hub = hub(address);
    let files = hub.list(&pinned(), "sample/10BT").await.unwrap();
    let waits = Mutex::new(vec![]);
    let progress = |progress: Progress<'_>| {
        if let Progress::Again { wait, .. } = progress {
            waits.lock().unwrap().push(wait);
        }
    };
    hub.fetch(&pinned(), &files, into.path(), &progress).await.unwrap();
    assert_eq!(*waits.lock().unwrap(), [Duration::from_secs(1), Duration::from_millis(2)]);
}

#[tokio::test]
async fn the_token_goes_to_the_hub_and_not_where_it_sends_to() {
    let into = tempfile::tempdir().unwrap();
    let files = [("000_00000.parquet", text(10_000))];
    let (cdn, there) = serve(&files, &[], None).await;
    let (address, here) = serve(&files, &[Does::Redirect], Some(cdn)).await;
    let path = into.path().join("token");
    fs::write(&path, "hf_secret\n").unwrap();
    let endpoint = format!("http://{address}");
    let hub = Hub::new(HubConfig { endpoint, token_file: Some(path.clone()), ..HubConfig::default() }).unwrap();
    assert!(!format!("{hub:?}").contains("hf_secret"));
    let list = hub.list(&pinned(), "sample/10BT").await.unwrap();
    hub.fetch(&pinned(), &list, into.path(), &|_| {}).await.unwrap();
    assert!(here.seen.lock().unwrap().iter().all(|(_, _, with_token)| *with_token));
    let there = there.seen.lock().unwrap().clone();
    assert_eq!(there, [("/cdn/000_00000.parquet".to_owned(), None, false)]);
    fs::write(&path, "\n").unwrap();
    let error = Hub::new(HubConfig { token_file: Some(path), ..HubConfig::default() }).unwrap_err();
    assert!(error.to_string().ends_with("holds no token"), "{error}");
}

#[tokio::test]
async fn a_list_that_is_none_or_leads_elsewhere_is_refused() {
    let (address, world) = serve(&[("a.parquet", text(9))], &[], None).await;
    let hub = hub(address);
    let list = async |text: &str| {
        *world.list.lock().unwrap() = Some(text.to_owned());
        hub.list(&pinned(), "sample/10BT").await.unwrap_err().to_string()
    };
    assert!(list("{").await.contains("list of sample/10BT is not understood"));
    assert!(list("[]").await.contains("has no file of the kinds .parquet"));
    let file = |path: &str, lfs: &str| format!(r#"[{{"type":"file","path":"{path}","size":9,"lfs":{lfs}}}]"#);
    assert!(list(&file("a.parquet", "null")).await.contains("without a SHA-256"));
    let digest = "0".repeat(64);
    let lfs = |oid: &str, size: u64| format!(r#"{{"oid":"{oid}","size":{size}}}"#);
    assert!(list(&file("a.parquet", &lfs("12", 9))).await.contains("digest that is none"));
    assert!(list(&file("a.parquet", &lfs(&digest, 8))).await.contains("two different lengths"));
    for path in ["../a.parquet", "/etc/a.parquet", "a b.parquet", "..\\\\a.parquet"] {
        assert!(list(&file(path, &lfs(&digest, 9))).await.contains("path is none"), "{path}");
    }
    let two =
        [file("x/a.parquet", &lfs(&digest, 9)), file("y/a.parquet", &lfs(&digest, 9))].join("").replace("][", ",");
    assert!(list(&two).await.contains("two files called a.parquet"));
    *world.list.lock().unwrap() = None;
    let missing = hub.list(&pinned(), "sample/99BT").await.unwrap_err();
    assert!(matches!(missing, HubError::Missing { .. }), "{missing}");
    assert!(hub.same_place("http://other.example/api").is_err());
    assert_eq!(next_page("<http://a/b>; rel=\"prev\", <http://a/c?x=1>; rel=\"next\""), Some("http://a/c?x=1".into()));
    assert_eq!((next_page("<http://a/b>; rel=\"last\""), next_page("nothing")), (None, None));
}

#[test]
fn only_commits_datasets_and_folders_are_asked_for() {
    for bad in ["main", "refs/convert/parquet", &REVISION[1..], &REVISION.to_uppercase()] {
        assert!(Pinned::new(DATASET, bad).is_err(), "{bad}");
    }
    for bad in ["fineweb-edu", "a/b/c", "a/..", "/b", "a/b?c"] {
        assert!(Pinned::new(bad, REVISION).is_err(), "{bad}");
    }
    assert_eq!(folder_of("sample-10BT").unwrap(), "sample/10BT");
    assert_eq!(folder_of("CC-MAIN-2024-10").unwrap(), "data/CC-MAIN-2024-10");
    assert_eq!(folder_of("data/x").unwrap(), "data/x");
    for bad in ["", "../x", "a//b", "sample-../x", "a?b"] {
        assert!(folder_of(bad).is_err(), "{bad}");
    }
    for bad in ["", "ftp://hub", "huggingface.co", "http://a/?b"] {
        assert!(Hub::new(HubConfig { endpoint: bad.into(), ..HubConfig::default() }).is_err(), "{bad}");
    }
}
