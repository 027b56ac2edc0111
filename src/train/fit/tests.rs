//! A toy learner goes through everything that can happen to a run.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::files;
use crate::tensors::{HostTensor, TensorMap, file};
use crate::train::{Ema, EmaConfig, Existing, Optimizer, OptimizerConfig, Rule, ScheduleConfig};

const FEATURES: usize = 4;
const BATCH: usize = 8;
const BATCHES: usize = 5;

/// One hidden layer, as small as it can be and still curve.
#[derive(Module, Debug)]
struct Mlp {
    hidden: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    out: Param<Tensor<2>>,
}

impl Mlp {
    fn new(device: &Device) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let mut values = |n: usize| -> Vec<f32> { (0..n).map(|_| random.random::<f32>() - 0.5).collect() };
        Self {
            hidden: Param::from_data(TensorData::new(values(FEATURES * 6), [FEATURES, 6]), device),
            bias: Param::from_data(TensorData::new(values(6), [6]), device),
            out: Param::from_data(TensorData::new(values(6), [6, 1]), device),
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let hidden = (x.matmul(self.hidden.val()) + self.bias.val().unsqueeze()).tanh(); // [n, 6]
        hidden.matmul(self.out.val()) // [n, 1]
    }
}

/// The tensors of the network by name, out and in again.
struct Names<'a>(Vec<String>, TensorMap, Option<&'a TensorMap>);

impl ModuleVisitor for Names<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.0.push(name.into());
    }
    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.0.pop();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let data = super::super::values::Values::of(param.val()).to_vec();
        self.1.insert(self.0.join("."), HostTensor { shape: param.val().dims().to_vec(), data });
    }
}

impl ModuleMapper for Names<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.0.push(name.into());
    }
    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.0.pop();
    }
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let from = self.2.unwrap()[&self.0.join(".")].data.clone();
        param.map(|old| {
            Tensor::<D>::from_data(TensorData::new(from, old.dims()), &old.device()).require_grad()
        })
    }
}

/// What goes wrong on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Fault {
    #[default]
    None,
    /// The process dies before this step.
    Crash(u64),
    /// The loss of this step is not a number.
    Loss(u64),
    /// The weights are no longer numbers after this step.
    Weights(u64),
}

/// Learns `sin(x·w)` from noisy examples; the noise is its dropout, drawn from the step's seed.
struct Toy {
    net: Mlp,
    optimizer: Optimizer,
    ema: Ema,
    device: Device,
    fault: Fault,
    /// The score is the mean error's negative, or falls with every evaluation if asked to.
    worsening: Option<Cell<f64>>,
}

impl Toy {
    fn new(kind: Rule) -> Self {
        let device = Device::flex().autodiff();
        let net = Mlp::new(&device);
        let config = OptimizerConfig { kind, lr: 0.05, clip_norm: 1.0, ..OptimizerConfig::default() };
        Self {
            ema: Ema::new(&EmaConfig { decay: 0.9 }, &net),
            optimizer: Optimizer::new(config).unwrap(),
            net,
            device,
            fault: Fault::None,
            worsening: None,
        }
    }

    fn tensors(net: &Mlp) -> TensorMap {
        let mut names = Names(Vec::new(), TensorMap::new(), None);
        net.visit(&mut names);
        names.1
    }

    fn loss(net: &Mlp, batch: &[f32], device: &Device) -> Tensor<1> {
        let n = batch.len() / FEATURES;
        let targets: Vec<f32> =
            batch.chunks(FEATURES).map(|x| (x[0] + 2.0 * x[1] - x[2] * x[3]).sin()).collect();
        let x = Tensor::<2>::from_data(TensorData::new(batch.to_vec(), [n, FEATURES]), device);
        let y = Tensor::<2>::from_data(TensorData::new(targets, [n, 1]), device);
        let error = net.forward(x) - y;
        (error.clone() * error).mean()
    }
}

impl Learner for Toy {
    type Batch = Vec<f32>;

    fn step(&mut self, batch: Vec<f32>, context: &StepContext) -> Result<StepReport> {
        if self.fault == Fault::Crash(context.step) {
            return Err(Error::Device("the power went".into()));
        }
        let mut random = ChaCha8Rng::seed_from_u64(context.seed);
        let noisy: Vec<f32> = batch.iter().map(|v| v + 0.01 * random.random::<f32>()).collect();
        let loss = Self::loss(&self.net, &noisy, &self.device);
        let gradients = GradientsParams::from_grads(loss.backward(), &self.net);
        self.optimizer.improve(&mut self.net, &gradients, context.lr);
        self.ema.update(&self.net);
        let mut loss = f64::from(loss.into_scalar::<f32>());
        if self.fault == Fault::Loss(context.step) {
            loss = f64::NAN;
        }
        if self.fault == Fault::Weights(context.step) {
            self.net.bias = Param::from_data(TensorData::new(vec![f32::INFINITY; 6], [6]), &self.device);
        }
        let figures = vec![("error", loss.sqrt()), ("lr_seen", context.lr)];
        Ok(StepReport { loss, examples: batch.len() / FEATURES, figures, notes: Vec::new() })
    }

    fn evaluate(&mut self) -> Result<Evaluation> {
        let averaged = self.ema.apply(self.net.valid());
        let set = Stream { seed: 99 }.batch(1000, 0);
        let loss = f64::from(Self::loss(&averaged, &set, &Device::flex()).into_scalar::<f32>());
        let score = match &self.worsening {
            Some(score) => score.replace(score.get() - 1.0),
            None => -loss,
        };
        Ok(Evaluation { score, figures: vec![("val_loss", loss)] })
    }

    fn state(&self) -> Result<LearnerState> {
        let mut all = LearnerState::default();
        all.put("net", Self::tensors(&self.net).into());
        all.put("optimizer", self.optimizer.state());
        all.put("ema", self.ema.state());
        Ok(all)
    }

    fn load_state(&mut self, mut state: LearnerState) -> Result<()> {
        let net = state.take("net").tensors;
        self.net = self.net.clone().map(&mut Names(Vec::new(), TensorMap::new(), Some(&net)));
        self.optimizer.load_state(&self.net, state.take("optimizer"))?;
        self.ema.load_state(state.take("ema"))
    }

    fn write_model(&self, path: &Path, evaluation: &Evaluation) -> Result<()> {
        let figures = evaluation.figures.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        files::write_atomically(path, |out| {
            file::write(out, &figures, &Self::tensors(&self.ema.apply(self.net.clone())))
        })
    }
}

/// Batches that depend on (epoch, batch) alone.
struct Stream {
    seed: u64,
}

impl Stream {
    fn batch(&self, epoch: u64, batch: usize) -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(seed::mix(&[self.seed, epoch, batch as u64]));
        // The last batch of an epoch is a short one, so that means must be weighted.
        let n = if batch + 1 == BATCHES { 3 } else { BATCH };
        (0..n * FEATURES).map(|_| random.random::<f32>() * 2.0 - 1.0).collect()
    }
}

impl BatchSource for Stream {
    type Batch = Vec<f32>;

    fn batches(&self) -> usize {
        BATCHES
    }

    fn epoch(&self, epoch: u64, from: usize) -> Box<dyn Iterator<Item = Result<Vec<f32>>> + '_> {
        Box::new((from..BATCHES).map(move |batch| Ok(self.batch(epoch, batch))))
    }
}

/// Stops the run after a step, and remembers what it was told.
#[derive(Default)]
struct Watcher {
    stop_after: Option<u64>,
    interrupted: Rc<AtomicBool>,
    events: Vec<String>,
    losses: Vec<f64>,
}

impl Progress for Watcher {
    fn start(&mut self, position: &Position) {
        self.events.push(format!("start {}", position.step));
    }
    fn step(&mut self, position: &Position) {
        assert!(position.batch <= position.batches && position.figure().is_some());
        self.losses.push(position.loss);
        if self.stop_after == Some(position.step) {
            self.interrupted.store(true, Ordering::SeqCst);
        }
    }
    fn evaluating(&mut self, position: &Position) {
        self.events.push(format!("evaluating {}", position.epoch));
    }
    fn epoch(&mut self, position: &Position, evaluation: &Evaluation, best: bool) {
        assert_eq!(evaluation.figures[0].0, "val_loss");
        self.events.push(format!("epoch {} best {best}", position.epoch));
    }
    fn message(&mut self, text: &str) {
        self.events.push(text.into());
    }
    fn finish(&mut self, fitted: &Fitted) {
        self.events.push(format!("finish {:?}", fitted.ended));
    }
}

/// One process: the same command with a fresh learner.
struct Process {
    config: FitConfig,
    kind: Rule,
    existing: Existing,
    fault: Fault,
    stop_after: Option<u64>,
    worsening: bool,
    identity: &'static str,
}

impl Process {
    fn new(config: FitConfig) -> Self {
        Self {
            config,
            kind: Rule::Adamw,
            existing: Existing::Refuse,
            fault: Fault::None,
            stop_after: None,
            worsening: false,
            identity: "this run",
        }
    }

    fn run(&self, root: &Path) -> (Result<Fitted>, Watcher) {
        let mut watcher = Watcher { stop_after: self.stop_after, ..Watcher::default() };
        let interrupted = Rc::clone(&watcher.interrupted);
        let folder = match RunFolder::open(root, self.existing) {
            Ok(folder) => folder,
            Err(e) => return (Err(e), watcher),
        };
        folder.write_config("").unwrap();
        let epochs = u64::from(self.config.epochs);
        let schedule = Schedule::new(&ScheduleConfig::default(), 0.05, BATCHES as u64, epochs).unwrap();
        let mut learner = Toy { fault: self.fault, ..Toy::new(self.kind) };
        learner.worsening = self.worsening.then(|| Cell::new(0.0));
        let run = Run {
            folder: &folder,
            config: &self.config,
            schedule: &schedule,
            seed: 3,
            identity: self.identity,
            resume: self.existing == Existing::Resume,
            interrupted: &interrupted,
        };
        let fitted = fit(&mut learner, &Stream { seed: 1 }, &run, &mut watcher);
        (fitted, watcher)
    }
}

fn epochs(epochs: u32) -> FitConfig {
    FitConfig { epochs, batch_size: BATCH, ..FitConfig::default() }
}

/// A checkpoint after every step.
fn often(config: FitConfig) -> FitConfig {
    FitConfig { checkpoint_minutes: 1e-9, ..config }
}

/// Everything that a run leaves, without times: models, log and the newest checkpoint.
fn left(root: &Path) -> (Vec<u8>, Vec<u8>, String, Checkpoint) {
    let read = |name: &str| std::fs::read(root.join(name)).unwrap();
    let log = String::from_utf8(read("log.csv")).unwrap();
    let without_seconds =
        log.lines().map(|line| line.rsplit_once(',').unwrap().0).collect::<Vec<_>>().join("\n");
    let mut newest =
        checkpoint::load_newest(&root.join("checkpoints"), "this run").unwrap().unwrap().checkpoint;
    newest.place.elapsed_ms = 0;
    (read("best.safetensors"), read("last.safetensors"), without_seconds, newest)
}

#[test]
fn it_learns_and_leaves_what_it_promises() {
    let folder = tempfile::tempdir().unwrap();
    let (fitted, watcher) = Process::new(epochs(20)).run(folder.path());
    let fitted = fitted.unwrap();
    assert_eq!((fitted.epochs, fitted.steps, fitted.ended), (20, 100, Ended::Epochs));
    assert!(fitted.best > -0.1, "the error of the best model is {}", -fitted.best);
    let (first, last) = (watcher.losses[BATCHES - 1], watcher.losses[20 * BATCHES - 1]);
    assert!(last < first / 4.0, "the loss went from {first} to {last}");
    let log = std::fs::read_to_string(folder.path().join("log.csv")).unwrap();
    assert_eq!(
        log.lines().next().unwrap(),
        "epoch,step,lr,train_loss,train_error,train_lr_seen,val_loss,seconds"
    );
    assert_eq!(log.lines().count(), 21);
    assert_eq!(checkpoint::list(&folder.path().join("checkpoints")).unwrap().len(), 2);
    assert_eq!(watcher.events.first().unwrap(), "start 0");
    assert_eq!(watcher.events.last().unwrap(), "finish Epochs");
}

#[test]
fn interrupted_after_any_step_and_resumed_is_as_if_never_stopped() {
    for kind in [Rule::Sgd, Rule::Adamw] {
        let whole = tempfile::tempdir().unwrap();
        Process { kind, ..Process::new(epochs(3)) }.run(whole.path()).0.unwrap();
        for stop in 1..3 * BATCHES as u64 {
            let folder = tempfile::tempdir().unwrap();
            let process = Process { kind, stop_after: Some(stop), ..Process::new(epochs(3)) };
            let error = process.run(folder.path()).0.unwrap_err();
            assert!(matches!(error, Error::Interrupted(_)) && error.exit_status() == 130, "{error}");
            let process = Process { kind, existing: Existing::Resume, ..Process::new(epochs(3)) };
            let (fitted, watcher) = process.run(folder.path());
            assert_eq!(fitted.unwrap().steps, 15);
            assert!(watcher.events.contains(&format!("start {stop}")), "{:?}", watcher.events);
            assert!(left(folder.path()) == left(whole.path()), "{kind:?} stopped after step {stop}");
        }
    }
}

#[test]
fn killed_before_any_step_and_resumed_is_as_if_never_stopped() {
    let whole = tempfile::tempdir().unwrap();
    Process::new(epochs(3)).run(whole.path()).0.unwrap();
    // With checkpoints at the end of epochs alone, and with one after every step.
    for config in [epochs(3), often(epochs(3))] {
        for step in 0..3 * BATCHES as u64 {
            let folder = tempfile::tempdir().unwrap();
            let fault = Fault::Crash(step);
            Process { fault, ..Process::new(config.clone()) }.run(folder.path()).0.unwrap_err();
            // What a write that was cut short leaves behind.
            std::fs::write(folder.path().join("checkpoints/.step-0000000099.safetensors.1.tmp"), "x")
                .unwrap();
            let process = Process { existing: Existing::Resume, ..Process::new(config.clone()) };
            process.run(folder.path()).0.unwrap();
            assert!(left(folder.path()) == left(whole.path()), "killed before step {step}");
        }
    }
}

#[test]
fn killed_over_and_over_it_still_arrives() {
    let whole = tempfile::tempdir().unwrap();
    Process::new(epochs(2)).run(whole.path()).0.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut existing = Existing::Refuse;
    for step in 1..2 * BATCHES as u64 {
        let fault = Fault::Crash(step);
        Process { existing, fault, ..Process::new(often(epochs(2))) }.run(folder.path()).0.unwrap_err();
        existing = Existing::Resume;
    }
    Process { existing, ..Process::new(often(epochs(2))) }.run(folder.path()).0.unwrap();
    assert!(left(folder.path()) == left(whole.path()));
    // And a run that is over stays as it is.
    Process { existing, ..Process::new(often(epochs(2))) }.run(folder.path()).0.unwrap();
    assert!(left(folder.path()) == left(whole.path()));
}

#[test]
fn a_damaged_newest_checkpoint_costs_time_and_nothing_else() {
    let whole = tempfile::tempdir().unwrap();
    Process::new(often(epochs(2))).run(whole.path()).0.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let fault = Fault::Crash(8);
    Process { fault, ..Process::new(often(epochs(2))) }.run(folder.path()).0.unwrap_err();
    let newest = checkpoint::list(&folder.path().join("checkpoints")).unwrap().pop().unwrap();
    let bytes = std::fs::read(&newest).unwrap();
    std::fs::write(&newest, &bytes[..bytes.len() / 2]).unwrap();
    let process = Process { existing: Existing::Resume, ..Process::new(often(epochs(2))) };
    let (fitted, watcher) = process.run(folder.path());
    fitted.unwrap();
    assert!(
        watcher.events[0].contains("left out") && watcher.events[1].contains("after step 7"),
        "{:?}",
        watcher.events
    );
    assert!(left(folder.path()) == left(whole.path()));
}

#[test]
fn a_checkpoint_of_another_run_is_refused_and_its_files_stay() {
    let folder = tempfile::tempdir().unwrap();
    Process::new(epochs(1)).run(folder.path()).0.unwrap();
    let before = left(folder.path());
    let process = Process { existing: Existing::Resume, identity: "another", ..Process::new(epochs(1)) };
    let error = process.run(folder.path()).0.unwrap_err();
    assert!(matches!(error, Error::ModelFile(_)), "{error}");
    assert!(left(folder.path()) == before);
}

#[test]
fn what_is_no_number_stops_the_run_and_the_last_good_checkpoint_stays() {
    for (fault, expected) in [(Fault::Loss(7), "loss is NaN"), (Fault::Weights(7), "`net/bias` holds values")]
    {
        for config in [epochs(2), often(epochs(2))] {
            let folder = tempfile::tempdir().unwrap();
            let error = Process { fault, ..Process::new(config.clone()) }.run(folder.path()).0.unwrap_err();
            let message = error.to_string();
            // Infinite weights show in the next step's loss where no checkpoint looked before it.
            assert!(message.contains(expected) || message.contains("loss is"), "{message}");
            assert!(matches!(error, Error::Diverged(_)) && message.contains("epoch 2, step"), "{message}");
            assert!(message.contains("learning rate") && message.contains("--lr"), "{message}");
            let newest = left(folder.path()).3;
            assert_eq!(newest.state.first_not_finite(), None);
            assert_eq!(newest.place.step, if config == epochs(2) { 5 } else { 7 });
        }
    }
}

#[test]
fn patience_ends_the_run_with_the_best_model_kept() {
    let folder = tempfile::tempdir().unwrap();
    let config = FitConfig { patience: 3, ..epochs(50) };
    let (fitted, watcher) = Process { worsening: true, ..Process::new(config.clone()) }.run(folder.path());
    let fitted = fitted.unwrap();
    assert_eq!((fitted.ended, fitted.epochs, fitted.best, fitted.best_epoch), (Ended::Patience, 4, 0.0, 1));
    assert!(watcher.events.contains(&"epoch 1 best true".to_string()));
    let (best, last, ..) = left(folder.path());
    assert!(best != last);
    // Resuming a run that ran out of patience does not give it more.
    let process = Process { worsening: true, existing: Existing::Resume, ..Process::new(config) };
    assert_eq!(process.run(folder.path()).0.unwrap().steps, fitted.steps);
}

#[test]
fn the_minutes_allowed_end_the_run_inside_an_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let config = FitConfig { minutes: 1e-9, ..epochs(3) };
    let (fitted, watcher) = Process::new(config.clone()).run(folder.path());
    let fitted = fitted.unwrap();
    assert_eq!((fitted.ended, fitted.steps, fitted.epochs), (Ended::Minutes, 1, 0));
    assert!(
        watcher.events.iter().any(|event| event.contains("minutes allowed are over")),
        "{:?}",
        watcher.events
    );
    // What it reached is measured, kept and logged.
    let (_, _, log, newest) = left(folder.path());
    assert!(log.lines().count() == 2 && newest.place.batch == 1, "{log}");
    // With more time it goes on inside that epoch, and ends where an unbounded run does.
    let process = Process { existing: Existing::Resume, ..Process::new(epochs(3)) };
    process.run(folder.path()).0.unwrap();
    let whole = tempfile::tempdir().unwrap();
    Process::new(epochs(3)).run(whole.path()).0.unwrap();
    assert!(left(folder.path()) == left(whole.path()));
}

#[test]
fn data_that_ends_early_is_an_error() {
    struct Short;
    impl BatchSource for Short {
        type Batch = Vec<f32>;
        fn batches(&self) -> usize {
            BATCHES
        }
        fn epoch(&self, epoch: u64, from: usize) -> Box<dyn Iterator<Item = Result<Vec<f32>>> + '_> {
            Box::new(Stream { seed: 1 }.epoch(epoch, from).take(2).collect::<Vec<_>>().into_iter())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let run_folder = RunFolder::open(folder.path(), Existing::Refuse).unwrap();
    let config = epochs(2);
    let schedule = Schedule::new(&ScheduleConfig::default(), 0.05, BATCHES as u64, 2).unwrap();
    let run = Run {
        folder: &run_folder,
        config: &config,
        schedule: &schedule,
        seed: 3,
        identity: "",
        resume: false,
        interrupted: &AtomicBool::new(false),
    };
    let error = fit(&mut Toy::new(Rule::Sgd), &Short, &run, &mut crate::train::Silent).unwrap_err();
    assert!(error.to_string().contains("2 of 5 batches"), "{error}");
}

#[test]
fn values_out_of_range_are_named() {
    type Change = fn(&mut FitConfig);
    let cases: [(&str, Change); 6] = [
        ("fit.epochs", |c| c.epochs = 0),
        ("fit.minutes", |c| c.minutes = f64::NAN),
        ("fit.batch_size", |c| c.batch_size = 0),
        ("fit.accumulate", |c| c.accumulate = 0),
        ("fit.accumulate", |c| c.accumulate = c.batch_size + 1),
        ("fit.checkpoint_minutes", |c| c.checkpoint_minutes = -1.0),
    ];
    for (name, change) in cases {
        let mut config = FitConfig::default();
        change(&mut config);
        let error = config.validate().unwrap_err();
        assert!(matches!(error, Error::Config(_)) && error.to_string().starts_with(name), "{error}");
    }
}
