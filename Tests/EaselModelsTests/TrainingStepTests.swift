import EaselModels
import EaselTestSupport
import Foundation
import Synchronization
import Testing

/// The training step of every family.
@Suite struct TrainingStepTests {
  @Test("A batch in parts takes the same step as the whole", arguments: Backends.available, TrainedModel.all)
  func accumulation(_ kind: BackendKind, _ trained: TrainedModel) throws {
    func step(accumulate: Int) throws -> (change: [Float], metrics: Metrics) {
      try onTensors(kind) { backend in
        let model = try trained.make(backend)
        let arena = model.components[0].arena
        let settings = TrainingSettings {
          $0.batchSize = 10
          $0.accumulate = accumulate
          $0.optimizer = .sgd
          $0.learningRate = 1
        }
        model.prepareForTraining(settings)
        let before = arena.values.values()
        let metrics = model.trainingStep(trained.batch(count: 10), TrainingStep(index: 3, settings: settings))
        return (zip(arena.values.values(), before).map { $0 - $1 }, metrics)
      }
    }
    let whole = try step(accumulate: 1)
    #expect(norm(whole.change) > 1e-3)
    // 3 parts have different sizes; 20 are more than the number of images.
    for parts in [2, 3, 4, 20] {
      let inParts = try step(accumulate: parts)
      #expect(relativeError(inParts.change, whole.change) < 1e-4, "\(parts) parts")
      for name in ["loss", "gradient-norm"] {
        let (found, expected) = (inParts.metrics[name] ?? .nan, whole.metrics[name] ?? .nan)
        #expect(abs(found - expected) < 1e-5 * expected, "\(parts) parts, \(name)")
      }
    }
  }

  @Test(
    "Ten steps follow the recorded curve", arguments: Backends.available, TrainedModel.all)
  func tenSteps(_ kind: BackendKind, _ trained: TrainedModel) throws {
    try expectCurve(trained.curve, on: kind) { backend, prepare in
      let model = try trained.make(backend, perturbed: false)
      let settings = TrainingSettings {
        $0.seed = 11
        $0.batchSize = 16
        $0.learningRate = 5e-3
        $0.clipNorm = 1
      }
      model.prepareForTraining(settings)
      prepare(model.components.map(\.arena))
      let batch = trained.batch(count: 16)
      return (0..<10).map { index in
        model.trainingStep(batch, TrainingStep(index: index, settings: settings))["loss"] ?? .nan
      }
    }
  }

  @Test("A step draws other numbers than the one before, and the same numbers when repeated")
  func randomNumbersByStep() throws {
    let losses = try onTensors { backend in
      let model = try perturbedDiffusion(on: backend)
      let settings = TrainingSettings { $0.learningRate = 1e-12 }
      model.prepareForTraining(settings)
      return [0, 1, 0].map { index in
        model.trainingStep(blobs(count: 4), TrainingStep(index: index, settings: settings))["loss"] ?? .nan
      }
    }
    #expect(abs(losses[0] - losses[2]) < 1e-5)
    #expect(abs(losses[0] - losses[1]) > 1e-3)
  }

  @Test("The moving average follows the parameters with a warm start")
  func movingAverage() throws {
    let (start, values, average) = try onTensors { backend -> ([Float], [Float], [Float]) in
      let model = try TrainedModel.all[0].make(backend)
      let settings = TrainingSettings {
        $0.emaDecay = 0.999
        $0.batchSize = 4
      }
      let arena = model.components[0].arena
      model.prepareForTraining(settings)
      let start = arena.values.values()
      _ = model.trainingStep(blobs(count: 4), TrainingStep(index: 0, settings: settings))
      return (start, arena.values.values(), try #require(arena.average).values())
    }
    // The first update's decay is 1/10.
    let expected = zip(start, values).map { 0.1 * $0 + 0.9 * $1 }
    #expect(largestDifference(average, expected) < 1e-6)
    #expect(start != values)
  }

  @Test(
    "An abandoned step leaves nothing, wherever it is, and does not affect the next step",
    arguments: Backends.available)
  func givenUp(_ kind: BackendKind) throws {
    let settings = TrainingSettings { ($0.batchSize, $0.emaDecay, $0.learningRate) = (4, 0.9, 0.01) }
    @Sendable func numbers(_ model: any Model) -> [[Float]] {
      model.components.flatMap { component -> [[Float]] in
        let arena = component.arena
        let tensors =
          [arena.values, arena.gradients] + [arena.average].compactMap { $0 } + arena.buffers.map(\.value)
          + component.trainingState.map(\.tensor) + (component.optimizer?.state ?? [])
        return tensors.map { $0.values() }
      }
    }
    for make in Self.everyKind {
      let (before, after, left) = try onTensors(kind) {
        backend -> ([[Float]], [[Float]], [(Bool, [[Float]], [[Float]])]) in
        func model() throws -> (any Model, Batch) {
          let (model, batch) = try make(backend)
          model.prepareForTraining(settings)
          return (model, batch)
        }
        let (whole, batch) = try model()
        let before = numbers(whole)
        _ = whole.guardedStep(batch, TrainingStep(index: 0, settings: settings))
        let after = numbers(whole)
        return (
          before, after,
          try [0, 1, 5, 30, 90].map { last in
            let (model, batch) = try model()
            let asked = Counter()
            let isGivenUp =
              model.guardedStep(batch, TrainingStep(index: 0, settings: settings)) {
                asked.value.add(1, ordering: .relaxed).newValue > last
              } == nil
            let left = numbers(model)
            if isGivenUp { _ = model.guardedStep(batch, TrainingStep(index: 0, settings: settings)) }
            return (isGivenUp, left, numbers(model))
          }
        )
      }
      #expect(before != after)
      #expect(left.filter { $0.0 }.count >= 3)
      for (isGivenUp, numbers, then) in left {
        #expect(numbers == (isGivenUp ? before : after))
        #expect(then == after)
      }
    }
  }

  private final class Counter: Sendable {
    let value = Atomic<Int>(0)
  }

  /// A small model for every kind of training step, with images for it.
  private static var everyKind: [@Sendable (any Backend) throws -> (any Model, Batch)] {
    let data = DataDescription(width: 8, height: 8, channels: 3)
    let one = TrainedModel.all.map { trained in
      { @Sendable (backend: any Backend) in (try trained.make(backend), trained.batch(count: 4)) }
    }
    @Sendable func pairs() -> Batch { blobs(data, count: 4).with(counterpart: blobs(data, count: 4)) }
    let several: [@Sendable (any Backend) throws -> (any Model, Batch)] = [
      { (try GAN(GANTests.small(), .float32(on: $0, .tiny)), blobs(count: 4)) },
      {
        let settings = GANTests.small { ($0.loss, $0.spectralNorm) = (.r1, true) }
        return (try GAN(settings, .float32(on: $0, .tiny)), blobs(count: 4))
      },
      {
        let settings = CycleGANSettings {
          ($0.generatorWidth, $0.discriminatorWidth, $0.residualBlocks, $0.poolSize) = (4, 4, 1, 3)
        }
        return (try CycleGAN(settings, .float32(on: $0, data)), pairs())
      },
      {
        let settings = Pix2PixSettings { ($0.generatorWidth, $0.discriminatorWidth) = (4, 4) }
        return (try Pix2Pix(settings, .float32(on: $0, data)), pairs())
      },
    ]
    return one + several
  }

  @Test("The validation loss is the same every time, and reads the average")
  func validationLoss() throws {
    let (first, second, changed) = try onTensors { backend -> (Float, Float, Float) in
      let model = try perturbedDiffusion(on: backend)
      model.prepareForTraining(TrainingSettings { $0.emaDecay = 0.5 })
      let arena = model.components[0].arena
      let first = model.validationLoss(blobs(count: 8))
      arena.values.withMutableFloats { values in for index in values.indices { values[index] *= 2 } }
      arena.values.storage.markModified()
      let second = model.validationLoss(blobs(count: 8))
      backend.copy(arena.values, into: try #require(arena.average))
      arena.average?.storage.markModified()
      return (first, second, model.validationLoss(blobs(count: 8)))
    }
    #expect(first == second)
    #expect(abs(changed - first) > 1e-3)
  }

  @Test("The learning rate follows the schedule by the step's index")
  func schedule() throws {
    let changes = try onTensors { backend in
      try [0, 4, 9].map { index -> Double in
        let model = try TrainedModel.all[0].make(backend)
        let settings = TrainingSettings {
          $0.batchSize = 4
          $0.optimizer = .sgd
          $0.learningRate = 0.1
          $0.warmupSteps = 10
        }
        model.prepareForTraining(settings)
        let before = model.components[0].arena.values.values()
        let metrics = model.trainingStep(blobs(count: 4), TrainingStep(index: index, settings: settings))
        let change = zip(model.components[0].arena.values.values(), before).map { $0 - $1 }
        return norm(change) / Double(metrics["gradient-norm"] ?? .nan)
      }
    }
    for (change, expected) in zip(changes, [0.01, 0.05, 0.1]) { #expect(abs(change - expected) < 1e-4 * expected) }
  }
}

/// A small model of each kind, and the losses of its first ten steps (openblas, float32).
struct TrainedModel: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let data: DataDescription
  let curve: [Float]
  private let build: @Sendable (ModelContext) throws -> any Model

  func make(_ backend: any Backend, perturbed: Bool = true) throws -> any Model {
    let model = try build(.float32(on: backend, data, seed: 4))
    if perturbed { model.components[0].perturb(by: 0.05) }
    return model
  }

  func batch(count: Int) -> Batch {
    blobs(data, count: count, labels: data.classNames.isEmpty ? nil : (0..<Int32(count)).map { $0 % 3 })
  }

  static let all = [
    TrainedModel(
      testDescription: "autoencoder", data: .tiny,
      curve: [0.200902, 0.164215, 0.091111, 0.058184, 0.050808, 0.044447, 0.039471, 0.035472, 0.032848, 0.031266],
      build: { context in
        var settings = AutoencoderSettings()
        settings.baseChannels = 8
        return try AutoencoderFamily.make(settings, context)
      }),
    TrainedModel(
      testDescription: "tied linear autoencoder", data: .tiny,
      curve: [0.136991, 0.132383, 0.127043, 0.121095, 0.114681, 0.107972, 0.101166, 0.094474, 0.088113, 0.082254],
      build: { context in
        var settings = AutoencoderSettings()
        (settings.architecture, settings.latent, settings.tied) = (.linear, 4, true)
        return try AutoencoderFamily.make(settings, context)
      }),
    TrainedModel(
      testDescription: "masked autoencoder with stochastic depth", data: .tiny,
      curve: [1.832098, 1.105872, 0.747952, 0.494257, 0.337884, 0.225792, 0.170497, 0.116330, 0.117305, 0.113711],
      build: { context in
        let settings = MaskedAutoencoderSettings {
          ($0.patch, $0.width, $0.depth, $0.decoderWidth, $0.decoderDepth) = (2, 16, 2, 8, 1)
          $0.dropPath = 0.2
        }
        return try MaskedAutoencoderFamily.make(settings, context)
      }),
    TrainedModel(
      testDescription: "autoencoder of small latents", data: .tiny,
      curve: [
        0.9158975, 0.6079331, 0.44737658, 0.3382501, 0.278073, 0.20242907, 0.16609329, 0.14415504, 0.118602, 0.10502262,
      ],
      build: { context in
        let settings = AutoencoderKLSettings {
          ($0.channels, $0.groups, $0.latentChannels) = ([8, 16], 4, 2)
          // The absolute error's gradient jumps where a pixel is right, which enlarges rounding.
          ($0.reconstruction, $0.klWeight) = (.l2, 0.01)
        }
        return try AutoencoderKLFamily.make(settings, context)
      }),
    TrainedModel(
      testDescription: "diffusion", data: .tiny,
      curve: [0.941995, 0.865258, 0.832167, 0.801759, 0.770788, 0.682005, 0.669117, 0.575597, 0.479035, 0.450484],
      build: { context in try DiffusionFamily.make(tinyDiffusion(), context) }),
    TrainedModel(
      testDescription: "conditional diffusion of velocity with dropout", data: .tinyLabelled,
      curve: [0.766878, 0.684299, 0.737012, 0.607610, 0.655480, 0.642465, 0.724890, 0.597428, 0.549935, 0.608243],
      build: { context in
        let settings = tinyDiffusion {
          $0.conditional = true
          $0.prediction = .velocity
          $0.noiseSchedule = .cosine
          $0.dropout = 0.1
        }
        return try DiffusionFamily.make(settings, context)
      }),
    TrainedModel(
      testDescription: "classifier", data: .tinyLabelled,
      curve: [1.072317, 0.974666, 0.917872, 0.866503, 0.812475, 0.763638, 0.728115, 0.693216, 0.667950, 0.642164],
      build: { context in
        var settings = ClassifierSettings()
        (settings.baseChannels, settings.features, settings.labelSmoothing) = (8, 16, 0.1)
        return try ClassifierFamily.make(settings, context)
      }),
    TrainedModel(
      testDescription: "clip with convolutions", data: .tiny,
      curve: [3.592595, 2.747520, 2.845983, 2.757639, 2.688344, 2.633273, 2.645469, 2.411968, 2.465199, 2.338736],
      build: { context in
        try CLIPFamily.make(CLIPTests.settings(.resnet), CLIPTests.context(on: context.backend, seed: context.seed))
      }),
    TrainedModel(
      testDescription: "clip with a vision transformer", data: .tiny,
      curve: [2.971143, 2.932610, 2.777596, 2.764192, 2.717274, 2.687467, 2.645985, 2.425481, 2.340579, 2.190015],
      build: { context in
        try CLIPFamily.make(CLIPTests.settings(.vit), CLIPTests.context(on: context.backend, seed: context.seed))
      }),
    TrainedModel(
      testDescription: "prior", data: .tiny,
      curve: [0.854066, 0.874619, 0.883479, 0.875045, 1.069821, 1.005379, 1.031297, 0.864864, 0.923785, 0.822308],
      build: { context in try PriorTests.make(on: context.backend, seed: context.seed) }),
    TrainedModel(
      testDescription: "diffusion on the edm schedule with augmentation", data: .tiny,
      curve: [1.103472, 1.366095, 1.137334, 1.082294, 1.003929, 1.305809, 1.127875, 1.061263, 1.054591, 1.004998],
      build: { context in
        let settings = tinyDiffusion {
          $0.prediction = .velocity
          $0.noiseSchedule = .edm
          $0.augment = 0.3
        }
        return try DiffusionFamily.make(settings, context)
      }),
    TrainedModel(
      testDescription: "conditional consistency with dropout", data: .tinyLabelled,
      curve: [6.495294, 3.591046, 6.262332, 8.594592, 7.464501, 8.168110, 20.485472, 6.225843, 5.589829, 6.190763],
      build: { context in
        let settings = tinyConsistency {
          ($0.diffusion.conditional, $0.diffusion.dropout) = (true, 0.1)
          ($0.tuning.shrink, $0.tuning.huber) = (10, 0.001)
          $0.tuning.noise = LogNormal(mean: -1.1, deviation: 2)
        }
        return try ConsistencyFamily.make(settings, context)
      }),
    TrainedModel(
      testDescription: "diffusion with a learned variance", data: .tiny,
      curve: [0.952243, 0.912336, 0.918666, 0.949071, 0.963114, 0.894270, 0.890907, 0.798373, 0.738617, 0.768187],
      build: { context in
        let settings = tinyDiffusion {
          $0.variance = .learnedRange
          $0.timesteps = 20
        }
        return try DiffusionFamily.make(settings, context)
      }),
  ]
}
