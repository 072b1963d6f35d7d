import EaselModels
import EaselRunStorage
import EaselTestSupport
import Foundation
import Testing

/// CycleGAN and pix2pix: against PyTorch (`make_translation_fixtures.py`), and their other properties.
@Suite struct ImageTranslationTests {
  /// A family with few channels.
  enum Kind: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case cyclegan, pix2pix
    var testDescription: String { rawValue }

    func make(
      _ data: DataDescription, on backend: any Backend, type: ScalarType = .float32,
      cyclegan: (inout CycleGANSettings) -> Void = { _ in }, pix2pix: (inout Pix2PixSettings) -> Void = { _ in }
    ) throws -> any Translating {
      let context = ModelContext(backend: backend, type: type, seed: 1, data: data)
      switch self {
      case .cyclegan:
        var settings = CycleGANSettings()
        (settings.generatorWidth, settings.residualBlocks, settings.discriminatorWidth) = (2, 2, 2)
        cyclegan(&settings)
        return try CycleGAN(settings, context)
      case .pix2pix:
        var settings = Pix2PixSettings()
        (settings.generatorWidth, settings.discriminatorWidth, settings.dropout) = (2, 2, 0)
        pix2pix(&settings)
        return try Pix2Pix(settings, context)
      }
    }
  }

  static let data = DataDescription(width: 27, height: 24, channels: 3)

  /// The fixture's images of both kinds as bytes.
  private static func batch(_ file: SafetensorsReader) throws -> Batch {
    func images(_ name: String) throws -> Batch {
      let (values, _) = try file.images(name)
      return Batch(
        number: 0, pixels: values.map { UInt8(($0 * 255).rounded()) }, count: 2, width: 27, height: 24,
        channels: 3)
    }
    return try images("a").with(counterpart: images("b"))
  }

  private static func fixtureFile() throws -> SafetensorsReader {
    try SafetensorsReader(path: fixture("translation.safetensors"))
  }

  /// A model with the fixture's initial values.
  private static func golden(_ kind: Kind, _ file: SafetensorsReader, on backend: any Backend) throws
    -> any Translating
  {
    let model = try kind.make(data, on: backend)
    for component in model.components {
      try component.arena.loadWeights(
        average: false, from: file, prefix: "\(kind.rawValue).weight.\(component.prefix)")
    }
    return model
  }

  /// A learning rate that changes nothing, and a momentum whose first value is the gradient.
  private static let standing = TrainingSettings {
    $0.optimizer = .sgd
    $0.momentum = 0.9
    $0.learningRate = 1e-12
    $0.batchSize = 2
  }

  // MARK: PyTorch

  @Test("Losses and gradients are PyTorch's", arguments: Backends.available, Kind.allCases)
  func losses(_ backendKind: BackendKind, _ kind: Kind) throws {
    let file = try Self.fixtureFile()
    let found = try onTensors(backendKind) { backend in
      let model = try Self.golden(kind, file, on: backend)
      model.prepareForTraining(Self.standing)
      let metrics = model.trainingStep(
        try Self.batch(file), TrainingStep(index: 0, settings: Self.standing))
      let gradients = model.components.map { component in
        component.arena.parameters.map { parameter in
          (name: parameter.name, values: parameter.view(of: component.optimizer?.state[0] ?? parameter.value).values())
        }
      }
      return (metrics: metrics, gradients: gradients, names: model.components.map(\.name))
    }
    let parts = [
      Kind.cyclegan: ["generator-a", "generator-b", "cycle", "identity", "discriminator-a", "discriminator-b"],
      .pix2pix: ["reconstruction", "discriminator"],
    ]
    for part in parts[kind] ?? [] {
      let expected = try file.floats("\(kind).\(part)")
      #expect(relativeError([found.metrics[part] ?? .nan], expected) < 1e-4, "\(part)")
    }
    #expect(relativeError([found.metrics["loss"] ?? .nan], try file.floats("\(kind).generator-loss")) < 1e-4)
    var squares = 0.0
    for (name, gradients) in zip(found.names, found.gradients) {
      let expected = try gradients.map { try file.floats("\(kind).gradient.\(name).\($0.name)") }
      let whole = norm(expected.flatMap { $0 })
      squares += whole * whole
      #expect(gradients.count >= 10)
      for (gradient, expected) in zip(gradients, expected) {
        #expect(
          isSameGradient(gradient.values, expected, whole: whole),
          "\(name).\(gradient.name): \(relativeError(gradient.values, expected))")
      }
    }
    let gradientNorm = Double(found.metrics["gradient-norm"] ?? .nan)
    #expect(abs(gradientNorm - squares.squareRoot()) < 1e-4 * gradientNorm)
  }

  @Test("Five steps follow PyTorch's", arguments: Backends.available, Kind.allCases)
  func curve(_ backendKind: BackendKind, _ kind: Kind) throws {
    let file = try Self.fixtureFile()
    try expectCurve(file.floats("\(kind).curve"), on: backendKind) { backend, prepare in
      let model = try Self.golden(kind, file, on: backend)
      let settings = TrainingSettings {
        $0.learningRate = 2e-3
        $0.beta1 = 0.5
        $0.batchSize = 2
      }
      model.prepareForTraining(settings)
      prepare(model.components.map(\.arena))
      let batch = try Self.batch(file)
      return (0..<5).flatMap { index in
        let metrics = model.trainingStep(batch, TrainingStep(index: index, settings: settings))
        let judges = metrics.filter { $0.key.hasPrefix("discriminator") }.values.reduce(0, +)
        return [metrics["loss"] ?? .nan, judges]
      }
    }
  }

  @Test("Translations are PyTorch's", arguments: Backends.available, Kind.allCases)
  func translations(_ backendKind: BackendKind, _ kind: Kind) throws {
    let file = try Self.fixtureFile()
    let found = try onTensors(backendKind) { backend in
      let images = Tensor(try file.images("a").values, shape: Self.data.shape(2), on: backend)
      return try Self.golden(kind, file, on: backend).translate(images, TranslationOptions()) { _ in }.values()
    }
    #expect(largestDifference(found, try file.images("\(kind).translated").values) < 1e-5)
  }

  // MARK: A step

  private static func pictures(_ data: DataDescription, count: Int) -> Batch {
    let other = blobs(data, count: count + 1)
    let size = data.shape(1).count
    return blobs(data, count: count).with(
      counterpart: Batch(
        number: 0, pixels: other.pixels[size...].map { 255 - $0 }, count: count, width: data.width,
        height: data.height, channels: data.channels))
  }

  @Test("A batch in parts takes the same step as the whole", arguments: Kind.allCases)
  func accumulation(_ kind: Kind) throws {
    func step(_ parts: Int) throws -> (gradients: [[Float]], metrics: Metrics) {
      try onTensors { backend in
        let data = DataDescription(width: 12, height: 12, channels: 1)
        // A pool of three is full before the batch of five is over; dropout depends on the index in the batch.
        let model = try kind.make(data, on: backend, cyclegan: { $0.poolSize = 3 }, pix2pix: { $0.dropout = 0.5 })
        for component in model.components { component.perturb(by: 0.3) }
        var settings = Self.standing
        (settings.batchSize, settings.accumulate) = (5, parts)
        model.prepareForTraining(settings)
        let metrics = model.trainingStep(Self.pictures(data, count: 5), TrainingStep(index: 3, settings: settings))
        return (model.components.map { $0.optimizer?.state[0].values() ?? [] }, metrics)
      }
    }
    let whole = try step(1)
    #expect(whole.gradients.allSatisfy { norm($0) > 1e-2 })
    for parts in [2, 5] {
      let inParts = try step(parts)
      for (found, expected) in zip(inParts.gradients, whole.gradients) {
        #expect(relativeError(found, expected) < 1e-4, "\(parts) parts")
      }
      #expect(inParts.metrics.keys == whole.metrics.keys)
      for (name, value) in whole.metrics {
        #expect(abs((inParts.metrics[name] ?? .nan) - value) < 1e-4 * abs(value), "\(parts) parts, \(name)")
      }
    }
  }

  @Test("The validation loss is the same for the same weights, and reads the average", arguments: Kind.allCases)
  func validation(_ kind: Kind) throws {
    let losses = try onTensors { backend -> [Float] in
      let data = DataDescription(width: 12, height: 12, channels: 1)
      let model = try kind.make(data, on: backend, pix2pix: { $0.dropout = 0.5 })
      for component in model.components { component.perturb(by: 0.3) }
      let settings = TrainingSettings {
        $0.emaDecay = 0.999
        $0.batchSize = 3
      }
      model.prepareForTraining(settings)
      let batch = Self.pictures(data, count: 3)
      var losses = [model.validationLoss(batch), model.validationLoss(batch)]
      // Neither the discriminators nor the generators' own weights matter, only the average.
      model.components[1].perturb(by: 1)
      model.components[0].perturb(by: 1)
      losses.append(model.validationLoss(batch))
      _ = model.trainingStep(batch, TrainingStep(index: 0, settings: settings))
      losses.append(model.validationLoss(batch))
      return losses
    }
    #expect(losses[0] == losses[1] && losses[0] == losses[2] && losses[0] > 0)
    #expect(losses[3] != losses[0])
  }

  @Test("The generators learn to fool fixed discriminators, and the discriminators learn to judge")
  func alternation() throws {
    let metrics = try onTensors { backend -> [Metrics] in
      let data = DataDescription(width: 12, height: 12, channels: 1)
      let model = try Kind.cyclegan.make(data, on: backend) {
        ($0.cycle, $0.generatorWidth, $0.discriminatorWidth) = (0, 4, 4)
      }
      let settings = TrainingSettings {
        $0.learningRate = 2e-3
        $0.batchSize = 4
      }
      model.prepareForTraining(settings)
      return (0..<12).map {
        model.trainingStep(Self.pictures(data, count: 4), TrainingStep(index: $0, settings: settings))
      }
    }
    let judges = metrics.map { ($0["discriminator-a"] ?? .nan) + ($0["discriminator-b"] ?? .nan) }
    #expect(judges[11] < 0.8 * judges[0], "\(judges)")
    #expect(metrics.allSatisfy { $0.values.allSatisfy(\.isFinite) })
  }

  @Test("bfloat16 comes close to float32", .enabled(if: Backends.bfloat16 != .none), arguments: Kind.allCases)
  func bfloat16(_ kind: Kind) throws {
    let file = try Self.fixtureFile()
    func losses(_ type: ScalarType) throws -> [Float] {
      try onTensors(.onednn) { backend in
        let model = try kind.make(Self.data, on: backend, type: type)
        for component in model.components {
          try component.arena.loadWeights(
            average: false, from: file, prefix: "\(kind.rawValue).weight.\(component.prefix)")
        }
        model.prepareForTraining(Self.standing)
        let metrics = model.trainingStep(try Self.batch(file), TrainingStep(index: 0, settings: Self.standing))
        return metrics.sorted { $0.key < $1.key }.filter { $0.key != "gradient-norm" }.map(\.value)
      }
    }
    let (exact, rounded) = (try losses(.float32), try losses(.bfloat16))
    for (a, b) in zip(rounded, exact) { #expect(abs(a - b) < 0.1 * b, "\(rounded) for \(exact)") }
  }

  // MARK: Images of the past

  @Test("A pool passes images on until it is full, then exchanges half of them for older ones")
  func pool() throws {
    let (given, counts, again) = try onTensors { backend -> ([Float], [Float], [Float]) in
      let data = DataDescription(width: 1, height: 1, channels: 1)
      func run(_ sizes: [Int]) -> (given: [Float], counts: [Float]) {
        let pool = ImagePool(capacity: 8, of: data, on: backend)
        var (given, counts, next) = ([Float](), [Float](), 0)
        for size in sizes {
          let fresh = Tensor((next..<next + size).map(Float.init), shape: data.shape(size), on: backend)
          given += pool.exchange(fresh, RandomDraw(seed: 3, stream: .noise, index: UInt64(next))).values()
          counts.append(pool.state("a").first { $0.name == "a.count" }?.tensor.item() ?? .nan)
          next += size
        }
        return (given, counts)
      }
      let inFours = run([Int](repeating: 4, count: 250))
      return (inFours.given, Array(inFours.counts.prefix(4)), run([1, 6, 3] + [Int](repeating: 90, count: 11)).given)
    }
    #expect(given[..<8] == [0, 1, 2, 3, 4, 5, 6, 7] && counts == [4, 8, 8, 8])
    let old = given.indices.filter { given[$0] != Float($0) }
    #expect((430...570).contains(old.count), "\(old.count)")
    #expect(old.allSatisfy { given[$0] < Float($0) })
    // No image leaves the pool twice, since the new image replaces it.
    #expect(Set(given[8...]).count == given.count - 8)
    // The pool works image by image, whatever the batches.
    #expect(given == again)
  }

  @Test("The pool is part of the state that training resumes from")
  func poolState() throws {
    let (states, none) = try onTensors { backend -> ([[Float]], Int) in
      let data = DataDescription(width: 8, height: 8, channels: 1)
      let model = try Kind.cyclegan.make(data, on: backend) { $0.poolSize = 5 }
      model.prepareForTraining(Self.standing)
      _ = model.trainingStep(Self.pictures(data, count: 2), TrainingStep(index: 0, settings: Self.standing))
      let state = model.components[1].trainingState
      #expect(state.map(\.name) == ["pool-a.images", "pool-a.count", "pool-b.images", "pool-b.count"])
      let without = try Kind.cyclegan.make(data, on: backend) { $0.poolSize = 0 }
      without.prepareForTraining(Self.standing)
      _ = without.trainingStep(Self.pictures(data, count: 2), TrainingStep(index: 0, settings: Self.standing))
      return (state.map { $0.tensor.values() }, without.components[1].trainingState.count)
    }
    #expect(none == 0 && states[1] == [2] && states[3] == [2])
    for images in [states[0], states[2]] {
      #expect(images.count == 5 * 64 && norm(Array(images[..<128])) > 0.1 && norm(Array(images[128...])) == 0)
    }
  }

  @Test("Augmentation changes only the inputs of CycleGAN's discriminators, not the images or the pool")
  func augmentation() throws {
    func step(_ changes: [DifferentiableAugmentation.Change]) throws -> (metrics: Metrics, pool: [Float]) {
      try onTensors { backend in
        let data = DataDescription(width: 16, height: 16, channels: 3)
        let model = try Kind.cyclegan.make(data, on: backend) { $0.augment = changes }
        model.prepareForTraining(Self.standing)
        let metrics = model.trainingStep(Self.pictures(data, count: 2), TrainingStep(index: 0, settings: Self.standing))
        return (metrics, model.components[1].trainingState[0].tensor.values())
      }
    }
    let plain = try step([])
    for change in DifferentiableAugmentation.Change.allCases {
      let changed = try step([change])
      #expect(changed.pool == plain.pool)
      for name in ["cycle", "identity"] { #expect(changed.metrics[name] == plain.metrics[name], "\(change)") }
      for name in ["generator-a", "generator-b", "discriminator-a", "discriminator-b"] {
        #expect(changed.metrics[name] != plain.metrics[name], "\(change), \(name)")
      }
    }
  }

  // MARK: Images of all kinds

  @Test("Repeated pixels keep a surface in one colour; transposed convolutions make a checkerboard")
  func upsampling() throws {
    func unevenness(_ upsampling: Upsampling) throws -> Float {
      // Bright at the left, so that the norms have something to divide by: with one colour, only rounding would remain.
      let (data, border, edge) = (DataDescription(width: 97, height: 60, channels: 1), 20, 27)
      let values = try onTensors { backend in
        let model = try Kind.cyclegan.make(data, on: backend) {
          ($0.upsampling, $0.residualBlocks, $0.generatorWidth) = (upsampling, 0, 4)
        }
        for component in model.components { component.perturb(by: 0.3) }
        let levels: [Float] = (0..<data.height * data.width).map { $0 % data.width < edge ? 0.9 : 0.3 }
        let image = Tensor(levels, shape: data.shape(1), on: backend)
        return try model.translate(image, TranslationOptions()) { _ in }.values()
      }
      let inside = (border..<data.height - border).flatMap { row in
        (edge + border..<data.width - border).map { values[row * data.width + $0] }
      }
      return (inside.max() ?? .nan) - (inside.min() ?? .nan)
    }
    let (repeated, transposed) = (try unevenness(.nearest), try unevenness(.transposed))
    #expect(transposed > 0.01 && repeated < 1e-4, "\(repeated), \(transposed)")
  }

  @Test(
    "Images of any size and either number of channels",
    arguments: [(Kind.cyclegan, Upsampling.transposed), (.cyclegan, .nearest), (.pix2pix, .transposed)],
    [(28, 28, 1), (48, 32, 3), (6, 6, 3), (13, 40, 1), (64, 7, 1)])
  func sizes(_ model: (kind: Kind, upsampling: Upsampling), _ size: (width: Int, height: Int, channels: Int)) throws {
    let (norms, shape, values) = try onTensors { backend -> ([Float], Shape, [Float]) in
      let data = DataDescription(width: size.width, height: size.height, channels: size.channels)
      let model = try model.kind.make(data, on: backend) { $0.upsampling = model.upsampling }
      model.prepareForTraining(Self.standing)
      let metrics = model.trainingStep(Self.pictures(data, count: 2), TrainingStep(index: 0, settings: Self.standing))
      let images = uniformImages(data.shape(3), on: backend)
      let made = try model.translate(images, TranslationOptions()) { _ in }
      return (["loss", "gradient-norm"].map { metrics[$0] ?? .nan }, made.shape, made.values())
    }
    #expect(norms.allSatisfy { $0.isFinite && $0 > 0 })
    #expect(shape == [3, size.height, size.width, size.channels])
    #expect(values.allSatisfy { (0...1).contains($0) })
  }

  @Test("Images that are too small are refused", arguments: Kind.allCases)
  func tooSmall(_ kind: Kind) {
    expectUserError(.usage, "at least 6×6", "found 9×5") {
      try onTensors { _ = try kind.make(DataDescription(width: 9, height: 5, channels: 1), on: $0) }
    }
  }

  @Test("Larger images get more residual blocks, and as many levels as fit")
  func automaticDepth() throws {
    let counts = try onTensors { backend in
      try [128, 129].map { side in
        try Kind.cyclegan.make(DataDescription(width: side, height: 8, channels: 1), on: backend) {
          $0.residualBlocks = nil
        }.components[0].arena.parameters.filter { $0.name.contains("conv_block") }.count
      }
    }
    // Two generators, two convolutions per block, each with a weight and a bias.
    #expect(counts == [8 * 6, 8 * 9])
    expectUserError(.usage, "depth: expected 2 to 3", "found 4") {
      try onTensors { backend in
        _ = try Kind.pix2pix.make(
          DataDescription(width: 15, height: 12, channels: 1), on: backend, pix2pix: { $0.depth = 4 })
      }
    }
  }

  // MARK: Translating

  @Test("Directions have names and, if possible, inverses; other names are refused", arguments: Kind.allCases)
  func directions(_ kind: Kind) throws {
    let directions = try onTensors { try kind.make(.tiny, on: $0).directions }
    let there = TranslationDirection("a-to-b", inverse: kind == .cyclegan ? "b-to-a" : nil, from: 0, to: 1)
    let back = TranslationDirection("b-to-a", inverse: "a-to-b", from: 1, to: 0)
    #expect(directions == (kind == .cyclegan ? [there, back] : [there]))
    for (options, message) in [
      (TranslationOptions(direction: "b-to-c"), "direction: expected a-to-b"),
      (TranslationOptions(strength: 0.5), "strength"), (TranslationOptions(condition: .label(1)), "label"),
      (TranslationOptions(copies: 0), "copies: expected 1 to 8, found 0"),
      (TranslationOptions(copies: 9), "copies"),
    ] {
      expectUserError(.usage, message) {
        try onTensors { backend in
          let images = uniformImages(DataDescription.tiny.shape(1), on: backend)
          _ = try kind.make(.tiny, on: backend).translate(images, options) { _ in }
        }
      }
    }
  }

  @Test("The mean over copies is that of the mirrored and moved images' translations, each moved back")
  func copies() throws {
    let data = DataDescription(width: 12, height: 16, channels: 3)
    @Sendable func mirrored(_ values: [Float]) -> [Float] {
      values.indices.map { values[$0 / 36 * 36 + (11 - $0 % 36 / 3) * 3 + $0 % 3] }
    }
    /// The value that many rows below and columns to the right, or that of the border; nil if there is none.
    @Sendable func moved(_ values: [Float], by move: Int) -> [Float?] {
      values.indices.map { place in
        let (row, column) = (place / 36 + move, place % 36 / 3 + move)
        guard (0..<16).contains(row), (0..<12).contains(column) else { return nil }
        return values[row * 36 + column * 3 + place % 3]
      }
    }
    @Sendable func nearest(_ values: [Float], by move: Int) -> [Float] {
      values.indices.map { values[min(15, $0 / 36 + move) * 36 + min(11, $0 % 36 / 3 + move) * 3 + $0 % 3] }
    }
    try onTensors { backend in
      let model = try Kind.cyclegan.make(data, on: backend)
      for component in model.components { component.perturb(by: 0.3) }
      let image = uniformImages(data.shape(1), on: backend).values()
      func translate(_ values: [Float], copies: Int = 1) throws -> [Float] {
        let images = Tensor(values, shape: data.shape(1), on: backend)
        return try model.translate(images, TranslationOptions(copies: copies)) { _ in }.values()
      }
      let (plain, other) = (try translate(image), mirrored(try translate(mirrored(image))))
      #expect(largestDifference(plain, other) > 0.01)
      #expect(largestDifference(try translate(image, copies: 2), zip(plain, other).map { ($0 + $1) / 2 }) < 1e-5)

      let third = moved(try translate(nearest(image, by: 2)), by: -2)
      let mean = zip(zip(plain, other), third).map { pair, third in
        third.map { (pair.0 + pair.1 + $0) / 3 } ?? (pair.0 + pair.1) / 2
      }
      #expect(largestDifference(try translate(image, copies: 3), mean) < 1e-5)
      // Half of the copies at each position are mirrored: a mirrored image's translation is the mirrored translation.
      #expect(
        largestDifference(mirrored(try translate(image, copies: 8)), try translate(mirrored(image), copies: 8)) < 1e-5)
    }
  }

  @Test("An image's translation does not depend on the others; directions and noise make a difference")
  func independence() throws {
    let data = DataDescription(width: 16, height: 16, channels: 1)
    for kind in Kind.allCases {
      let found = try onTensors { backend -> [[Float]] in
        let model = try kind.make(data, on: backend, pix2pix: { $0.dropout = 0.5 })
        for component in model.components { component.perturb(by: 0.3) }
        let images = uniformImages(data.shape(20), on: backend)
        func translate(_ count: Int, _ options: TranslationOptions = .init()) throws -> [Float] {
          try model.translate(images[0..<count], options) { _ in }.values()
        }
        let other = TranslationOptions(
          seed: kind == .pix2pix ? 1 : 0, direction: kind == .cyclegan ? "b-to-a" : nil)
        return [try translate(20), try translate(2), try translate(18), try translate(2, other)]
      }
      #expect(found[0].starts(with: found[1]) && found[0].starts(with: found[2]), "\(kind)")
      #expect(largestDifference(found[1], found[3]) > 0.01, "\(kind)")
    }
  }

  @Test(
    "Nonsense in the settings is refused by key",
    arguments: [
      ("cyclegan", "generator-width=0"), ("cyclegan", "residual-blocks=-1"), ("cyclegan", "discriminator-width=0"),
      ("cyclegan", "discriminator-layers=0"), ("cyclegan", "discriminator-layers=7"), ("cyclegan", "cycle=-1"),
      ("cyclegan", "identity=.nan"), ("cyclegan", "pool-size=-1"), ("cyclegan", "adversarial-loss=hinge"),
      ("cyclegan", "augment=[rotation]"),
      ("pix2pix", "depth=1"), ("pix2pix", "depth=9"), ("pix2pix", "dropout=1"), ("pix2pix", "reconstruction=-1"),
    ])
  func nonsense(_ preset: String, _ assignment: String) throws {
    let key = assignment.prefix { $0 != "=" }
    var document = try AnyPreset.named(preset).configuration()
    try document.set(assignment)
    expectUserError(.usage, String(key)) {
      if preset == "cyclegan" {
        try document.decode(CycleGANSettings.self).validate()
      } else {
        try document.decode(Pix2PixSettings.self).validate()
      }
    }
  }

  @Test("Only families of two data sets have a key for the second")
  func keys() throws {
    for preset in AnyPreset.all {
      #expect(try preset.configuration().keys.contains("data-b") == (preset.family.domains != .one), "\(preset.name)")
    }
  }
}
