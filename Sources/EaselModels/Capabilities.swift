import EaselSupport
import EaselTensors
import Foundation

// What a model can do besides training. Images here are float32 `[N, H, W, C]` with values 0 to 1. A request asks for a
// capability; a model that lacks it is refused with the list of those it has. Whoever is told of the progress ends the work by
// throwing an error, which the work throws on.

/// Makes images out of nothing.
public protocol Sampling: Model {
  /// Checks a request's options without computing anything.
  ///
  /// - Throws: `UserError` (usage) for options the model does not take.
  func validate(_ options: SamplingOptions) throws
  /// Images `range` of the endless series that a seed names: image k is the same whatever the range.
  ///
  /// - Parameters:
  ///   - range: numbers of images, from 0.
  ///   - options: the seed, and what the model's sampler can be told.
  ///   - progress: told the share done, 0 to 1.
  func sample(_ range: Range<Int>, _ options: SamplingOptions, progress: (Double) throws -> Void) throws -> Tensor
  /// How many images in a row of a grid belong together; nil where any number does.
  func columns(_ options: SamplingOptions) -> Int?
  /// The options in effect, for a picture's recipe.
  func description(of options: SamplingOptions) -> [(key: String, value: String)]
}

extension Sampling {
  public func columns(_ options: SamplingOptions) -> Int? { nil }

  /// Columns of a grid that is to be looked at: one for each image that belongs together, unless there are too many of them.
  public func sheetColumns(_ options: SamplingOptions) -> Int {
    let columns = columns(options) ?? 8
    return columns <= 20 ? columns : 8
  }
}

/// Makes images in many steps, which can be watched.
public protocol StepwiseSampling: Sampling {
  /// Told how images that begin with number `first` look after a step, from 0 for what they begin with: `[N, H, W, C]`,
  /// float32, values 0 to 1 and beyond. Images that were not asked for may be among the last.
  typealias StepWatcher = (_ step: Int, _ first: Int, _ images: Tensor) -> Void

  /// As ``Sampling/sample(_:_:progress:)``.
  func sample(
    _ range: Range<Int>, _ options: SamplingOptions, watch: StepWatcher?, progress: (Double) throws -> Void
  ) throws -> Tensor
}

extension StepwiseSampling {
  public func sample(_ range: Range<Int>, _ options: SamplingOptions, progress: (Double) throws -> Void) throws
    -> Tensor
  {
    try sample(range, options, watch: nil, progress: progress)
  }
}

/// What can be asked of a sampler; nil means the model's own default.
public struct SamplingOptions: Sendable {
  public var seed: UInt64
  public var steps: Int?
  public var sampler: String?
  /// What to draw in turn: image k shows condition k mod their number. Nil for all classes that there were images of for
  /// training.
  public var conditions: [Condition]?
  /// How much the condition counts: 1 as trained, more exaggerates.
  public var guidance: Float?
  public var eta: Double?
  /// Images that are made together, at least 1. Each is the same in any company; fewer take less memory, and can be stopped
  /// sooner.
  public var chunk: Int

  public static let usualChunk = 16

  public init(
    seed: UInt64 = 0, steps: Int? = nil, sampler: String? = nil, conditions: [Condition]? = nil,
    guidance: Float? = nil, eta: Double? = nil, chunk: Int = SamplingOptions.usualChunk
  ) {
    self.seed = seed
    self.steps = steps
    self.sampler = sampler
    self.conditions = conditions
    self.guidance = guidance
    self.eta = eta
    self.chunk = chunk
  }
}

/// Has an image for every code: one can walk from code to code.
public protocol CodeDecoding: Model {
  /// Images of codes `[N, …]`.
  func decode(_ codes: Tensor) -> Tensor
  /// Images of codes `[N, …]`, with a say in how they come about; conditions are those of the codes in turn, nil for none.
  ///
  /// - Parameters:
  ///   - codes: `[N, …]`.
  ///   - options: what the model's sampler can be told.
  ///   - progress: told the share done, 0 to 1.
  /// - Throws: `UserError` (usage) for options the model does not take.
  func decode(_ codes: Tensor, _ options: SamplingOptions, progress: (Double) throws -> Void) throws -> Tensor
  /// The options in effect where codes are decoded, for a picture's recipe.
  ///
  /// - Throws: `UserError` (usage) for options the model does not take.
  func describe(decoding options: SamplingOptions) throws -> [(key: String, value: String)]
  /// The codes that random image `range` of a seed are decoded from; nil, as by default, where no distribution of codes is known.
  func randomCodes(_ range: Range<Int>, seed: UInt64) -> Tensor?
  /// The codes that decoding with the same options leads to the random images of the options' seed.
  func randomCodes(_ range: Range<Int>, _ options: SamplingOptions) -> Tensor?
  /// How one goes from code to code; in a straight line by default.
  var interpolation: Interpolation { get }
}

/// Has a code for every image too: images can be sent to codes and back.
public protocol ImageEncoding: CodeDecoding {
  /// Codes of images: `[N, …]`.
  func encode(_ images: Tensor) -> Tensor
  /// The codes that decoding with the same options leads back to the images.
  ///
  /// - Parameters:
  ///   - images: float32 `[N, H, W, C]`, 0 to 1.
  ///   - options: what the model's sampler can be told.
  ///   - progress: told the share done, 0 to 1; what it throws ends the work.
  /// - Throws: `UserError` (usage) for options the model does not take.
  func encode(_ images: Tensor, _ options: SamplingOptions, progress: (Double) throws -> Void) throws -> Tensor
}

extension CodeDecoding {
  public var interpolation: Interpolation { .linear }
  public func randomCodes(_ range: Range<Int>, seed: UInt64) -> Tensor? { nil }

  public func decode(_ codes: Tensor, _ options: SamplingOptions, progress: (Double) throws -> Void) throws -> Tensor {
    _ = try describe(decoding: options)
    let images = decode(codes)
    try progress(1)
    return images
  }

  public func describe(decoding options: SamplingOptions) throws -> [(key: String, value: String)] {
    try options.refuse(except: [])
    return []
  }

  public func randomCodes(_ range: Range<Int>, _ options: SamplingOptions) -> Tensor? {
    randomCodes(range, seed: options.seed)
  }
}

extension ImageEncoding {
  public func encode(
    _ images: Tensor, _ options: SamplingOptions, progress: (Double) throws -> Void
  ) throws -> Tensor {
    _ = try describe(decoding: options)
    let codes = encode(images)
    try progress(1)
    return codes
  }
}

/// How one goes from one code to another.
public enum Interpolation: String, Sendable {
  case linear
  /// Along the great circle: for Gaussian noise, whose length must not shrink on the way.
  case spherical

  /// `frames` codes from a to b, both included.
  public func path(from a: [Float], to b: [Float], frames: Int) -> [[Float]] {
    (0..<frames).map { frame in
      let t = frames == 1 ? 0 : Float(frame) / Float(frames - 1)
      var (first, second) = (1 - t, t)
      if self == .spherical {
        let dot = zip(a, b).reduce(Float(0)) { $0 + $1.0 * $1.1 }
        let lengths = (a.reduce(0) { $0 + $1 * $1 } * b.reduce(0) { $0 + $1 * $1 }).squareRoot()
        let angle = lengths > 0 ? acos(max(-1, min(1, dot / lengths))) : 0
        // Nearly parallel codes: the line is the arc, and the sine is too small to divide by.
        if sin(angle) > 1e-4 { (first, second) = (sin((1 - t) * angle) / sin(angle), sin(t * angle) / sin(angle)) }
      }
      return zip(a, b).map { first * $0 + second * $1 }
    }
  }
}

/// Has a code of independent standard normal numbers for every image: it draws images by decoding random codes.
public protocol GaussianCodes: Sampling, CodeDecoding {
  /// Numbers in a code `[N, latent]`.
  var latent: Int { get }
}

extension GaussianCodes {
  public func validate(_ options: SamplingOptions) throws { try options.refuse(except: []) }

  public func sample(_ range: Range<Int>, _ options: SamplingOptions, progress: (Double) throws -> Void) throws
    -> Tensor
  {
    try validate(options)
    return try Chunks.series(
      range, of: options.chunk, shape: context.data.shape, on: context.backend, progress: progress
    ) {
      decode(codes($0, seed: options.seed))
    }
  }

  public func description(of options: SamplingOptions) -> [(key: String, value: String)] { [] }

  public func randomCodes(_ range: Range<Int>, seed: UInt64) -> Tensor? { codes(range, seed: seed) }

  func codes(_ range: Range<Int>, seed: UInt64) -> Tensor {
    let codes = Tensor(uninitialized: [range.count, latent], on: context.backend)
    context.backend.fillNormal(codes, RandomDraw(seed: seed, stream: .sampling, index: UInt64(range.lowerBound)))
    return codes
  }
}

extension SamplingOptions {
  /// - Parameter known: the options that the model takes; all others have to be nil.
  /// - Throws: `UserError` (usage) naming the option.
  func refuse(except known: Set<String>) throws {
    let given: [(name: String, isGiven: Bool)] = [
      ("steps", steps != nil), ("sampler", sampler != nil), ("label", conditions != nil),
      ("guidance", guidance != nil), ("eta", eta != nil),
    ]
    for option in given where option.isGiven && !known.contains(option.name) {
      throw UserError(.usage, "\(field: option.name): this model draws an image in one pass and has no such choice")
    }
  }

  /// - Parameter isConditional: whether the model learned the classes of its data.
  /// - Throws: `UserError` (usage) for conditions that the model cannot take.
  static func check(_ conditions: [Condition]?, of data: DataDescription, isConditional: Bool) throws {
    guard let conditions else { return }
    if !isConditional {
      throw UserError(.usage, "\(field: "label"): this model was trained without labels (conditional: false)")
    }
    try data.check(conditions)
  }

  /// What each image of a series shows, of a model that knows the data's classes.
  package func conditions(of images: Range<Int>, in data: DataDescription) -> [Condition] {
    let conditions = conditions ?? data.trainedConditions
    return images.map { conditions[$0 % conditions.count] }
  }

  /// Conditions in turn make a column of each.
  func columns(in data: DataDescription) -> Int? {
    let columns = (conditions ?? data.trainedConditions).count
    return columns > 1 ? columns : nil
  }

  /// For a picture's recipe: see ``DataDescription/description(of:)``.
  func conditionDescription(in data: DataDescription) -> [(key: String, value: String)] {
    conditions.map(data.description) ?? [(key: "Label", value: Self.allLabels)]
  }

  /// What a recipe calls nil for ``conditions``.
  public static let allLabels = "all in turn"
}

/// Undoes damage to images.
public protocol Restoring: Model {
  /// The damage that it undoes best, and the default of `easel denoise`.
  var corruption: Corruption { get }
  /// Damaged images made whole.
  ///
  /// - Parameters:
  ///   - images: float32 `[N, H, W, C]`, 0 to 1 and beyond.
  ///   - corruption: what was done to them.
  ///   - seed: of the random numbers that the model draws.
  ///   - progress: told the share done, 0 to 1; what it throws ends the work.
  /// - Throws: `UserError` (usage) for a kind of damage that it cannot undo.
  func restore(
    _ images: Tensor, from corruption: Corruption, seed: UInt64, progress: (Double) throws -> Void
  ) throws -> Tensor
}

/// Fills in what is missing of images.
public protocol Inpainting: Model {
  /// The side of the squares, from the upper left corner, that the model makes up as a whole where any pixel is missing; nil
  /// where each pixel is by itself.
  var inpaintingPatch: Int? { get }
  /// - Parameters:
  ///   - images: float32 `[N, H, W, C]`, 0 to 1.
  ///   - missing: float32 `[N, H, W, 1]`, 1 where a pixel is to be made up and 0 where it is known. What stands in `images`
  ///     there is not looked at.
  ///   - seed: of the random numbers that the model draws.
  ///   - progress: told the share done, 0 to 1.
  /// - Returns: the images, known pixels unchanged.
  func inpaint(_ images: Tensor, missing: Tensor, seed: UInt64, progress: (Double) throws -> Void) throws -> Tensor
}

extension Inpainting {
  public var inpaintingPatch: Int? { nil }
}

/// Turns images of one kind into images of another.
public protocol Translating: Model {
  /// The ways it can translate, by name; the first is the default.
  var directions: [TranslationDirection] { get }
  /// - Parameters:
  ///   - images: float32 `[N, H, W, C]`, 0 to 1.
  ///   - options: the direction, and what else the model can be told.
  ///   - progress: told the share done, 0 to 1.
  /// - Throws: `UserError` (usage) for options the model does not take.
  func translate(_ images: Tensor, _ options: TranslationOptions, progress: (Double) throws -> Void) throws -> Tensor
}

/// One way of a ``Translating`` model.
public struct TranslationDirection: Sendable, Hashable {
  /// As in `--direction`: `a-to-b`.
  public var name: String
  /// The direction that leads back, where there is one.
  public var inverse: String?
  /// Which of the run's data sets has the images that it takes, and which those that it makes: 0 for the first.
  public var from, to: Int

  public init(_ name: String, inverse: String? = nil, from: Int = 0, to: Int = 0) {
    (self.name, self.inverse) = (name, inverse)
    (self.from, self.to) = (from, to)
  }
}

extension Translating {
  /// The direction that is asked for.
  ///
  /// - Throws: `UserError` (usage) for one that there is not.
  public func direction(_ options: TranslationOptions) throws -> TranslationDirection {
    guard let name = options.direction else { return directions[0] }
    guard let direction = directions.first(where: { $0.name == name }) else {
      throw UserError(
        .usage, "\(field: "direction"): expected \(directions.map(\.name).joined(separator: " or ")), found \(name)")
    }
    return direction
  }
}

/// What can be asked of a translation; nil means the model's own default.
public struct TranslationOptions: Sendable {
  public var seed: UInt64
  public var direction: String?
  /// How much of the image is made anew, 0 to 1 (diffusion).
  public var strength: Double?
  /// What to translate to (conditional models).
  public var condition: Condition?
  /// Moved and mirrored copies of each image that the mean is taken over (models that translate in one pass); 1 for the image
  /// alone.
  public var copies: Int

  public init(
    seed: UInt64 = 0, direction: String? = nil, strength: Double? = nil, condition: Condition? = nil,
    copies: Int = 1
  ) {
    (self.seed, self.direction, self.strength) = (seed, direction, strength)
    (self.condition, self.copies) = (condition, copies)
  }

  /// For models that take an image to another in one pass.
  ///
  /// - Throws: `UserError` (usage) for options that they do not take.
  func checkForOnePass() throws {
    for (name, isGiven) in [("strength", strength != nil), ("label", condition != nil)] where isGiven {
      throw UserError(.usage, "\(field: name): this model translates an image in one pass and has no such choice")
    }
    var check = FieldCheck()
    check(copies, String(field: "copies"), 1...SelfEnsemble.maximumCopies)
    try check.finish()
  }
}

/// Bounds the likelihood of images.
public protocol Likelihood: Model {
  /// Figures of each image by name, such as `elbo`, `reconstruction`, `kl` in nats or `bits-per-dimension`.
  ///
  /// - Parameters:
  ///   - images: of the model's size and channels.
  ///   - importanceSamples: samples of the tighter bound; nil where it is not asked for.
  ///   - seed: of the random numbers that the bound is found with.
  ///   - progress: told the share done, 0 to 1.
  /// - Throws: `UserError` (usage) for a bound that the model does not have.
  func likelihood(
    _ images: Batch, importanceSamples: Int?, seed: UInt64, progress: (Double) throws -> Void
  ) throws -> [String: [Double]]
}

/// Describes an image by some numbers that mean more than its pixels: what probes and distances look at.
public protocol FeatureExtracting: Model {
  /// Float32 `[N, features]`.
  func features(_ images: Tensor) -> Tensor
}

/// Says what images show.
public protocol Classifying: FeatureExtracting {
  /// Float32 `[N, classes]`, in the order of the data's class names, of what ``FeatureExtracting/features(_:)`` found.
  func logits(ofFeatures features: Tensor) -> Tensor
}

extension Classifying {
  /// Float32 `[N, classes]`, in the order of the data's class names.
  public func logits(_ images: Tensor) -> Tensor { logits(ofFeatures: features(images)) }
}
