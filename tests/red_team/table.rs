//! The attacks: what each is an instance of, and how it must end.
use prism_core::submission::FailureClass::{self, MinerCode, Resource};

/// What of the bundle is measured, and so which of its parts is asked for hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Its `build_model`, under the reference recipe.
    Architecture,
    /// The same, with the reference recipe tuned over its grid of rates.
    Tuned,
    /// Its training hooks, on the honest architecture.
    Training,
    /// All of it.
    Whole,
}

/// How it must end, without any review beforehand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum End {
    /// The run fails, by the miner's doing.
    Fails(FailureClass),
    /// It is measured, and its advantage over the honest bundle is below two standard errors.
    NotAbove,
    /// Either, as the secret cuts fall.
    FailsOrNotAbove(FailureClass),
    /// Refused before it runs, by this rule.
    Rejected(&'static str),
}

/// One attack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attack {
    /// File or folder under `bundles/`.
    pub(crate) name: &'static str,
    /// What it is an instance of.
    pub(crate) kind: &'static str,
    pub(crate) part: Part,
    pub(crate) end: End,
    /// Whether it belongs to the small suite that runs with every change.
    pub(crate) core: bool,
}

const fn attack(name: &'static str, kind: &'static str, part: Part, end: End) -> Attack {
    Attack { name, kind, part, end, core: false }
}

const fn core(name: &'static str, kind: &'static str, part: Part, end: End) -> Attack {
    Attack { name, kind, part, end, core: true }
}

use End::{Fails, FailsOrNotAbove, NotAbove, Rejected};
use Part::{Architecture, Training, Tuned, Whole};

const ALARM: End = Fails(MinerCode);

pub(crate) const ATTACKS: &[Attack] = &[
    core("edits_measuring_objects", "editing measuring objects", Training, ALARM),
    core("reads_targets_from_frames", "editing measuring objects", Training, ALARM),
    attack("zeroes_targets", "editing measuring objects", Training, ALARM),
    core("reads_next_token", "reading the next token", Architecture, ALARM),
    attack("looks_ahead_where_hard", "look-ahead at few positions", Architecture, FailsOrNotAbove(MinerCode)),
    core("looks_ahead_rarely", "look-ahead at one position in a hundred", Architecture, FailsOrNotAbove(MinerCode)),
    attack("trusts_what_is_likely", "detecting the auditor (decoys)", Architecture, ALARM),
    attack("detects_the_decoy", "detecting the auditor (decoys)", Architecture, ALARM),
    attack("detects_the_mode", "detecting scoring (mode, length)", Architecture, ALARM),
    core("detects_the_auditor", "detecting the auditor (process)", Training, ALARM),
    attack("detects_the_process", "detecting the auditor (process)", Training, ALARM),
    attack("remembers_rows", "memory across rows and calls", Training, FailsOrNotAbove(MinerCode)),
    attack("cached_logits", "cached logits", Training, ALARM),
    attack("second_model", "a second model outside the saved state", Training, ALARM),
    attack("hides_parameters_in_a_list", "parameters hidden from counting", Whole, ALARM),
    attack("hides_parameters_in_buffers", "parameters hidden from counting", Whole, FailsOrNotAbove(MinerCode)),
    core("patched_cross_entropy", "patched cross-entropy", Training, FailsOrNotAbove(MinerCode)),
    attack("patched_softmax", "patched softmax", Training, ALARM),
    attack("patched_writers", "patched json, struct, tensors", Training, FailsOrNotAbove(MinerCode)),
    attack("patched_modules", "patched sys.modules", Training, FailsOrNotAbove(MinerCode)),
    attack("sitecustomize", "sitecustomize", Training, FailsOrNotAbove(MinerCode)),
    attack("torch_py", "a torch.py in the bundle", Training, FailsOrNotAbove(MinerCode)),
    attack("claims_zero", "lying claims: zero", Training, ALARM),
    core("claims_a_tenth_less", "lying claims: 0.1 bit lower", Training, ALARM),
    attack("adds_a_constant", "lying claims: constant on logits", Training, ALARM),
    attack("leans_by_an_epsilon", "lying claims: within rounding", Training, FailsOrNotAbove(MinerCode)),
    core("answers_nan", "NaN logits", Training, ALARM),
    attack("answers_infinity", "infinite logits", Training, ALARM),
    core("answers_huge", "huge logits", Training, FailsOrNotAbove(MinerCode)),
    attack("lossy_tokenizer", "lossy tokenizer", Whole, NotAbove),
    core("folded_vocabulary", "folded vocabulary", Whole, ALARM),
    attack("narrow_vocabulary", "narrow vocabulary", Training, ALARM),
    attack("flattened_logits", "narrow vocabulary", Training, ALARM),
    attack("tiny_sequence", "tiny sequence length", Whole, ALARM),
    core("smuggled_weights", "smuggled weights", Whole, Rejected("bundle.mass")),
    // A prior of the full cap helps most at first, and deciphering is work; the official window begins 500 caps of tokens
    // later, and the margin of rewards lies above what is left of it there.
    attack("knows_the_text", "smuggled n-grams, alphabet deciphered", Whole, FailsOrNotAbove(Resource)),
    attack("reads_data_early", "reading data before its time", Training, FailsOrNotAbove(Resource)),
    attack("reads_the_channel", "reading data before its time", Training, ALARM),
    core("takes_inner_steps", "hidden extra training: inner steps", Training, NotAbove),
    attack("replays", "hidden extra training: replay", Training, NotAbove),
    attack("trains_in_the_background", "hidden extra training: threads", Training, NotAbove),
    attack("trains_on_measured_rows", "hidden extra training: measured rows", Training, ALARM),
    attack("steps_in_gradient_hooks", "hidden extra training: gradient hooks", Tuned, NotAbove),
    attack(
        "optimizes_in_forward",
        "hidden extra training: optimizer in forward",
        Architecture,
        FailsOrNotAbove(MinerCode),
    ),
    attack("reparametrises_the_rate", "reparametrised rate", Tuned, NotAbove),
    attack("prints_rows", "rows printed for a second entry", Training, NotAbove),
    attack("raises_rows", "rows printed for a second entry", Training, ALARM),
    attack("cripples_small_probes", "crippled small probes", Architecture, NotAbove),
    attack("sleeps", "sleeping to win wall clock", Training, Fails(Resource)),
    core("forges_manifest", "forged manifests and markers", Training, NotAbove),
    attack("forges_frames", "forged answers", Training, ALARM),
    core("forges_exit", "forged exit code", Training, ALARM),
    attack("exits_at_once", "early os._exit(0)", Training, ALARM),
    attack("crashes_for_a_second_pass", "resume for a second pass", Training, ALARM),
];
