//! Which sandbox this host gets: what the config names; else the embedded one when it enforces everything required and no
//! graphics processor is asked for; else a container engine; else none. A plain process is never chosen silently.
use super::embedded::EmbeddedConfig;
use futures::future::BoxFuture;
use prism_core::{
    Sandbox,
    error::{Error, Fault, Kind, Result},
    sandbox::{Property, Strength},
};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// Which backend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BackendKind {
    /// The first that does: embedded, container.
    #[default]
    Auto,
    /// Linux namespaces.
    Embedded,
    /// A container engine.
    Container,
    /// A plain process: for development, no wall at all.
    UnsafeProcess,
}

/// The sandbox's part of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxConfig {
    /// Which backend.
    pub kind: BackendKind,
    /// What must hold against attackers.
    pub required: Vec<Property>,
    /// What of that may hold against accidents only, where the host can do no better.
    pub accept_best_effort: Vec<Property>,
    /// The embedded backend.
    pub embedded: EmbeddedConfig,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            kind: BackendKind::Auto,
            // Not landlock, which is a second wall behind the first, and which engines don't have.
            required: vec![
                Property::UserNamespace,
                Property::NoNetwork,
                Property::ReadOnlyRoot,
                Property::SyscallFilter,
                Property::MemoryLimit,
                Property::CpuTimeLimit,
                Property::ProcessLimit,
                Property::DiskLimit,
                Property::OutputLimit,
            ],
            accept_best_effort: Vec::new(),
            embedded: EmbeddedConfig::default(),
        }
    }
}

/// Makes a backend, when it comes to that.
pub type Maker<'a> = Box<dyn FnOnce() -> BoxFuture<'a, Result<Arc<dyn Sandbox>>> + Send + 'a>;

/// The backends to choose among; a program that lacks one leaves it out.
#[derive(Default)]
#[non_exhaustive]
pub struct Backends<'a> {
    /// Linux namespaces.
    pub embedded: Option<Maker<'a>>,
    /// A container engine.
    pub container: Option<Maker<'a>>,
    /// A plain process.
    pub process: Option<Maker<'a>>,
}

impl fmt::Debug for Backends<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { embedded, container, process } = self;
        let [embedded, container, process] = [embedded, container, process].map(Option::is_some);
        write!(f, "Backends {{ embedded: {embedded}, container: {container}, process: {process} }}")
    }
}

/// What was chosen.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The backend.
    pub sandbox: Arc<dyn Sandbox>,
    /// What every spec is to require: all that was asked for and isn't accepted as a best effort.
    pub required: Vec<Property>,
    /// What holds against accidents only, and was accepted so.
    pub best_effort: Vec<Property>,
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(Kind::Unsupported, Fault::Validator, message)
}

/// Chooses. `gpus`: whether graphics processors will be asked for.
///
/// # Errors
/// `Unsupported` when the named backend, or none, does what is required; it names each backend's lack.
pub async fn detect(config: &SandboxConfig, gpus: bool, backends: Backends<'_>) -> Result<Chosen> {
    let Backends { embedded, container, process } = backends;
    let candidates = match config.kind {
        BackendKind::Embedded => vec![("embedded", embedded)],
        BackendKind::Container => vec![("container", container)],
        BackendKind::UnsafeProcess => {
            // Chosen by its name: what it lacks is no surprise.
            let make = process.ok_or_else(|| refused("this program has no unsafe-process sandbox"))?;
            let sandbox = make().await?;
            tracing::warn!("work runs as a plain process, without any wall");
            return Ok(Chosen { sandbox, required: Vec::new(), best_effort: config.required.clone() });
        }
        BackendKind::Auto if gpus => vec![("container", container)],
        BackendKind::Auto => vec![("embedded", embedded), ("container", container)],
    };
    let mut lacks = Vec::new();
    for (name, make) in candidates {
        match weigh(config, gpus, make).await {
            Ok(chosen) => return Ok(chosen),
            Err(lack) => lacks.push(format!("{name}: {lack}")),
        }
    }
    Err(refused(format!("no sandbox on this host does what is required ({})", lacks.join("; "))))
}

async fn weigh(config: &SandboxConfig, gpus: bool, make: Option<Maker<'_>>) -> Result<Chosen, String> {
    let make = make.ok_or("not part of this program")?;
    let sandbox = make().await.map_err(|e| e.chain())?;
    let can = sandbox.probe().await.map_err(|e| e.chain())?;
    let (mut required, mut best_effort) = (Vec::new(), Vec::new());
    let gpu = gpus.then_some(Property::Gpu);
    for property in config.required.iter().copied().chain(gpu) {
        match can.of(property) {
            Strength::Enforced => required.push(property),
            Strength::BestEffort if config.accept_best_effort.contains(&property) => best_effort.push(property),
            Strength::BestEffort => {
                return Err(format!("{property:?} is a best effort only, and accept_best_effort doesn't name it"));
            }
            Strength::Absent => return Err(format!("{property:?} is absent")),
        }
    }
    Ok(Chosen { sandbox, required, best_effort })
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use prism_core::sandbox::{Capabilities, Running, SandboxSpec};

    #[derive(Debug)]
    struct Stub(&'static str, Capabilities);

    #[async_trait]
    impl Sandbox for Stub {
        fn name(&self) -> &str {
            self.0
        }
        async fn probe(&self) -> Result<Capabilities> {
            Ok(self.1.clone())
        }
        async fn start(&self, _: SandboxSpec) -> Result<Box<dyn Running>> {
            Err(refused("a stub"))
        }
        async fn sweep(&self) -> Result<usize> {
            Ok(0)
        }
    }

    fn maker(name: &'static str, memory: Strength) -> Option<Maker<'static>> {
        let mut all: Vec<_> = SandboxConfig::default().required;
        all.push(Property::Gpu);
        let mut can = Capabilities(all.into_iter().map(|p| (p, Strength::Enforced)).collect());
        can.0.insert(Property::MemoryLimit, memory);
        if name == "embedded" {
            can.0.remove(&Property::Gpu);
        }
        Some(Box::new(move || Box::pin(async move { Ok(Arc::new(Stub(name, can)) as Arc<dyn Sandbox>) })))
    }

    fn broken() -> Option<Maker<'static>> {
        Some(Box::new(|| Box::pin(async { Err(refused("no engine here")) })))
    }

    async fn name(config: &SandboxConfig, gpus: bool, backends: Backends<'static>) -> Result<String> {
        Ok(detect(config, gpus, backends).await?.sandbox.name().to_owned())
    }

    fn both(memory: Strength) -> Backends<'static> {
        Backends {
            embedded: maker("embedded", memory),
            container: maker("container", Strength::Enforced),
            process: maker("process", Strength::Absent),
        }
    }

    #[tokio::test]
    async fn the_embedded_sandbox_comes_first_when_it_enforces_everything() {
        let auto = SandboxConfig::default();
        assert_eq!(name(&auto, false, both(Strength::Enforced)).await.unwrap(), "embedded");
        assert_eq!(name(&auto, false, both(Strength::BestEffort)).await.unwrap(), "container");
        assert_eq!(name(&auto, true, both(Strength::Enforced)).await.unwrap(), "container");
    }

    #[tokio::test]
    async fn a_best_effort_is_taken_only_when_it_was_accepted() {
        let mut config = SandboxConfig { kind: BackendKind::Embedded, ..SandboxConfig::default() };
        let error = detect(&config, false, both(Strength::BestEffort)).await.unwrap_err();
        assert_eq!((error.kind(), error.fault()), (Kind::Unsupported, Fault::Validator));
        assert!(error.to_string().contains("MemoryLimit"), "{error}");
        config.accept_best_effort = vec![Property::MemoryLimit];
        let chosen = detect(&config, false, both(Strength::BestEffort)).await.unwrap();
        assert_eq!(chosen.best_effort, [Property::MemoryLimit]);
        assert!(!chosen.required.contains(&Property::MemoryLimit));
        assert!(detect(&config, false, both(Strength::Absent)).await.is_err());
    }

    #[test]
    fn a_configuration_says_so_in_plain_words() {
        let text = r#"{"kind":"unsafe-process","accept_best_effort":["memory_limit"],"embedded":{"label":"mine"}}"#;
        let config: SandboxConfig = serde_json::from_str(text).unwrap();
        assert_eq!((config.kind, config.embedded.label.as_str()), (BackendKind::UnsafeProcess, "mine"));
        assert_eq!(config.accept_best_effort, [Property::MemoryLimit]);
        assert_eq!(config.required, SandboxConfig::default().required);
        assert!(serde_json::from_str::<SandboxConfig>(r#"{"kynd":"auto"}"#).is_err());
    }

    #[tokio::test]
    async fn nothing_falls_back_to_a_plain_process() {
        let auto = SandboxConfig::default();
        let backends = Backends { container: broken(), ..both(Strength::Absent) };
        let error = detect(&auto, false, backends).await.unwrap_err();
        assert!(error.to_string().contains("no engine here"), "{error}");
        let named = SandboxConfig { kind: BackendKind::UnsafeProcess, ..auto };
        assert_eq!(name(&named, false, both(Strength::Absent)).await.unwrap(), "process");
        assert!(detect(&named, false, Backends::default()).await.is_err());
    }
}
