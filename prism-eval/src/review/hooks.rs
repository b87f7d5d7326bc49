//! The hooks of the contract: which of them a bundle has, where they are taken from, and whether they can be called.
use super::{
    error::PythonError,
    sources::{Binding, Sources},
    syntax::{Kind, Module, NodeId},
};
use prism_core::{
    reviewer::{Finding, Grade},
    submission::SubmissionKind,
};
use serde::Serialize;

/// A function that the contract names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook {
    /// Its name.
    pub name: &'static str,
    /// What it is called with, by position.
    pub parameters: &'static [&'static str],
    /// Name and parameters, for people.
    pub signature: &'static str,
}

const fn hook(name: &'static str, parameters: &'static [&'static str], signature: &'static str) -> Hook {
    Hook { name, parameters, signature }
}

/// Returns the model.
pub const BUILD_MODEL: Hook = hook("build_model", &["ctx"], "build_model(ctx)");
/// Returns the recipe.
pub const GET_RECIPE: Hook = hook("get_recipe", &["ctx"], "get_recipe(ctx)");
/// What a bundle may have besides. `infer` is the older name of `inference_logits`.
pub const OPTIONAL: [Hook; 7] = [
    hook("configure_optimizer", &["model", "recipe", "ctx"], "configure_optimizer(model, recipe, ctx)"),
    hook("inference_logits", &["model", "batch", "ctx"], "inference_logits(model, batch, ctx)"),
    hook("infer", &["model", "batch", "ctx"], "infer(model, batch, ctx)"),
    hook("compute_loss", &["model", "batch", "ctx"], "compute_loss(model, batch, ctx)"),
    hook("train_step", &["model", "batch", "optimizer", "ctx"], "train_step(model, batch, optimizer, ctx)"),
    hook("save_checkpoint", &["model", "checkpoint_dir", "ctx"], "save_checkpoint(model, checkpoint_dir, ctx)"),
    hook("load_checkpoint", &["model", "checkpoint_dir", "ctx"], "load_checkpoint(model, checkpoint_dir, ctx)"),
];

/// The part of a bundle that a hook is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The architecture's entry point.
    Architecture,
    /// The training entry point.
    Training,
}

/// A hook that a bundle has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoundHook {
    /// Its name.
    pub name: &'static str,
    /// Where guests take it from.
    pub part: Part,
    /// The file that defines it.
    pub file: String,
    /// The line.
    pub line: u32,
    /// Whether its parameters could be read; not so behind a decorator or a call.
    pub checked: bool,
}

/// The hooks of a bundle, and what is worth a note about them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hooks {
    /// In the order of the contract.
    pub found: Vec<FoundHook>,
    /// Definitions that nobody will call.
    pub notes: Vec<Finding>,
}

impl Hooks {
    /// Looks for the hooks of a submission. `build_model` and `get_recipe` are the architecture's; the others are taken
    /// from the training entry point when there is one, else from the architecture's. A `training_for_arch` that
    /// defines `build_model` is refused: it would never be called, and its author should know before it is measured.
    ///
    /// # Errors
    /// A hook that is missing or can't be called with what the contract gives it.
    pub fn of(
        kind: SubmissionKind,
        sources: &Sources,
        architecture: Option<&str>,
        training: Option<&str>,
    ) -> Result<Self, PythonError> {
        let mut hooks = Self::default();
        let other = training.filter(|path| architecture != Some(*path));
        if let Some(entrypoint) = architecture {
            for hook in [BUILD_MODEL, GET_RECIPE] {
                if !hooks.take(hook, Part::Architecture, sources, entrypoint)? {
                    let (file, hook) = (entrypoint.to_owned(), hook.signature);
                    return Err(PythonError::MissingHook { file, hook });
                }
            }
        }
        if let Some(entrypoint) = other {
            for hook in [BUILD_MODEL, GET_RECIPE] {
                let Some((file, line)) = place(sources, entrypoint, hook.name) else { continue };
                if kind == SubmissionKind::TrainingForArch && hook == BUILD_MODEL {
                    return Err(PythonError::ReplacesModel { file, line });
                }
                hooks.note(file, line, format!("`{}` of the training entry point is not called", hook.name));
            }
        }
        let (part, entrypoint) = match (training, architecture) {
            (Some(path), _) => (Part::Training, Some(path)),
            (None, path) => (Part::Architecture, path),
        };
        for hook in OPTIONAL {
            let Some(entrypoint) = entrypoint else { continue };
            hooks.take(hook, part, sources, entrypoint)?;
            let Some(unasked) = architecture.filter(|_| other.is_some()) else { continue };
            if let Some((file, line)) = place(sources, unasked, hook.name) {
                let text = format!("`{}` is not called: hooks are taken from the training entry point", hook.name);
                hooks.note(file, line, text);
            }
        }
        let named = |name: &str| hooks.found.iter().find(|hook| hook.name == name).cloned();
        let (predicts, older) = (named("inference_logits"), named("infer"));
        let (saves, loads) = (named("save_checkpoint"), named("load_checkpoint"));
        if let (Some(_), Some(old)) = (predicts, older) {
            hooks.note(old.file, old.line, "`infer` is not called where `inference_logits` is defined".to_owned());
        }
        if let (Some(save), None) = (saves, loads) {
            hooks.note(save.file, save.line, "what `save_checkpoint` keeps can't be loaded again".to_owned());
        }
        Ok(hooks)
    }

    fn note(&mut self, file: String, line: u32, text: String) {
        self.notes.push(Finding { rule: "python.hook.ignored".to_owned(), file, line, text, grade: Grade::Note });
    }

    fn take(&mut self, hook: Hook, part: Part, sources: &Sources, entrypoint: &str) -> Result<bool, PythonError> {
        let Some(module) = sources.module(entrypoint) else { return Ok(false) };
        let (module, id, known) = match sources.binding(entrypoint, module, hook.name) {
            None => return Ok(false),
            Some(Binding::Unknown(module, id)) => (module, id, false),
            Some(Binding::Node(module, id)) => (module, id, true),
        };
        let checked = known && check(hook, module, id)?;
        let (file, line) = (module.path().to_owned(), module.node(id).line);
        self.found.push(FoundHook { name: hook.name, part, file, line, checked });
        Ok(true)
    }
}

fn place(sources: &Sources, entrypoint: &str, name: &str) -> Option<(String, u32)> {
    let module = sources.module(entrypoint)?;
    match sources.binding(entrypoint, module, name)? {
        // A star import may bring anything: only what is plainly there counts.
        Binding::Unknown(..) => None,
        Binding::Node(module, id) => Some((module.path().to_owned(), module.node(id).line)),
    }
}

/// Whether the parameters could be read.
fn check(hook: Hook, module: &Module, id: NodeId) -> Result<bool, PythonError> {
    let node = module.node(id);
    let wrong = |problem: String| {
        let (file, line, hook) = (module.path().to_owned(), node.line, hook.signature);
        Err(PythonError::Signature { file, line, hook, problem })
    };
    let parameters = match node.kind {
        Kind::Function if module.list(id, 0).is_empty() => module.child(id, 1),
        Kind::Lambda => module.child(id, 0),
        Kind::AsyncFunction => return wrong("is a coroutine, which nobody awaits".to_owned()),
        Kind::Str | Kind::Bytes | Kind::Number | Kind::Bool | Kind::None | Kind::Dict | Kind::ListLiteral => {
            return wrong("is no function".to_owned());
        }
        _ => return Ok(false),
    };
    let given = hook.parameters.len();
    let positional: Vec<NodeId> =
        module.list(parameters, 0).iter().chain(module.list(parameters, 1)).copied().collect();
    let has_default = |id: NodeId| module.node(module.child(id, 1)).kind != Kind::Absent;
    let required = positional.iter().filter(|id| !has_default(**id)).count();
    if required > given || (positional.len() < given && module.list(parameters, 2).is_empty()) {
        return wrong(format!("takes {} arguments and is given {given}", positional.len()));
    }
    if let Some(id) = module.list(parameters, 3).iter().find(|id| !has_default(**id)) {
        return wrong(format!("needs `{}`, which it is not given", module.node(*id).text));
    }
    for (index, (id, expected)) in positional.iter().zip(hook.parameters).enumerate() {
        let name = module.node(*id).text.as_str();
        if hook.parameters.iter().position(|known| *known == name).is_some_and(|known| known != index) {
            return wrong(format!("has `{name}` where it is given `{expected}`"));
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const MODEL: &str = "def build_model(ctx): ...\ndef get_recipe(ctx): ...\n";

    fn of(kind: SubmissionKind, model: Option<&str>, train: Option<&str>) -> Result<Hooks, PythonError> {
        let files = [("model.py", model), ("train.py", train)];
        let files: BTreeMap<String, String> =
            files.iter().filter_map(|(path, text)| Some(((*path).to_owned(), (*text)?.to_owned()))).collect();
        let sources = Sources::parse(&files).unwrap();
        Hooks::of(kind, &sources, model.map(|_| "model.py"), train.map(|_| "train.py"))
    }

    fn names(hooks: &Hooks) -> Vec<(&str, Part)> {
        hooks.found.iter().map(|hook| (hook.name, hook.part)).collect()
    }

    #[test]
    fn required_hooks_are_missed_by_name() {
        let missing = of(SubmissionKind::Full, Some("def build_model(ctx): ...\n"), None).unwrap_err();
        assert_eq!(missing.rule(), "python.hook.missing");
        assert_eq!(missing.to_string(), "model.py: has no `get_recipe(ctx)` at its top level");
        let inside = "class A:\n  def build_model(ctx): ...\ndef get_recipe(ctx): ...\n";
        assert_eq!(of(SubmissionKind::Full, Some(inside), None).unwrap_err().rule(), "python.hook.missing");
        assert_eq!(names(&of(SubmissionKind::TrainingForArch, None, Some("")).unwrap()), vec![]);
    }

    #[test]
    fn optional_hooks_are_the_training_entry_points_when_there_is_one() {
        let model = format!("{MODEL}def train_step(m, b, o, c): ...\n");
        let alone = of(SubmissionKind::Full, Some(&model), None).unwrap();
        assert_eq!(names(&alone)[2..], [("train_step", Part::Architecture)]);
        assert!(alone.notes.is_empty() && alone.found.iter().all(|hook| hook.checked));
        let both = of(SubmissionKind::Full, Some(&model), Some("def infer(model, batch, ctx): ...\n")).unwrap();
        assert_eq!(names(&both)[2..], [("infer", Part::Training)]);
        assert_eq!(both.notes.len(), 1);
        assert!(both.notes[0].text.contains("train_step") && both.notes[0].line == 3);
    }

    #[test]
    fn a_recipe_for_a_family_brings_no_model() {
        let error =
            of(SubmissionKind::TrainingForArch, None, Some("x = 1\nbuild_model = lambda ctx: x\n")).unwrap_err();
        assert_eq!((error.rule(), error.place()), ("python.hook.model", Some(("train.py", 2))));
        let noted = of(SubmissionKind::TrainingForArch, None, Some("def get_recipe(ctx): ...\n")).unwrap();
        assert_eq!(noted.notes[0].rule, "python.hook.ignored");
    }

    #[test]
    fn what_can_not_be_called_as_the_contract_says_is_refused() {
        let signature = |line: &str| of(SubmissionKind::Full, Some(&format!("{MODEL}{line}\n")), None);
        for bad in [
            "def train_step(model, batch, ctx): ...",
            "def train_step(model, optimizer, batch, ctx): ...",
            "def train_step(model, batch, optimizer, ctx, more): ...",
            "def compute_loss(model, batch, ctx, *, scale): ...",
            "async def compute_loss(model, batch, ctx): ...",
            "configure_optimizer = lambda model, recipe: None",
            "configure_optimizer = 'adamw'",
            "def build_model(): ...",
            "def get_recipe(ctx, base): ...",
        ] {
            let error = signature(bad).unwrap_err();
            assert_eq!((error.rule(), error.place().unwrap().1), ("python.hook.signature", 3), "{bad}: {error}");
        }
        for good in [
            "def train_step(model, batch, optimizer, ctx, scale=1.0): ...",
            "def train_step(*arguments, **others): ...",
            "def train_step(net, rows, opt, context): ...",
            "import torch\n@torch.compile\ndef train_step(a): ...",
            "def train_step(model, batch, optimizer, ctx, /): ...",
            "import functools\ntrain_step = functools.partial(step, rate=1)",
            "def build_model(_): ...",
        ] {
            assert!(signature(good).is_ok(), "{good}");
        }
    }
}
