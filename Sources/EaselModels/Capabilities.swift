import EaselLayers
import EaselSupport
import Foundation

// What a model can do besides training. Images here are float32 `[N, H, W, C]` with values 0 to 1. A request asks for a
// capability; a model without it is refused, with a list of what it can do. A progress callback ends the work by
// throwing an error, which the work throws on.

/// Draws new images.
public protocol Sampling: Model {
  /// Checks a request's options without computing anything.
  ///
  /// - Throws: `UserError` (usage) if the model does not take the options.
  func validate(_ options: SamplingOptions) throws
  /// The conditions that it takes; none, unless a model says otherwise.
  var conditionKind: ConditionKind { get }
  /// Draws images `range` of the endless series of a seed. Image k is the same whatever the range.
  ///
  /// - Parameters:
  ///   - range: numbers of images, from 0.
  ///   - options: the seed and the model's sampling options.
  ///   - progress: receives the share that is done, 0 to 1.
  func sample(_ range: Range<Int>, _ options: SamplingOptions, progress: (Double) throws -> Void) throws -> Tensor
  /// How many images in a row of a grid belong together; nil if any number does.
  func columns(_ options: SamplingOptions) -> Int?
  /// The options in effect, for a picture's recipe.
  func description(of options: SamplingOptions) -> [(key: String, value: String)]
}

extension Sampling {
  public var conditionKind: ConditionKind { .nothing }

  public func columns(_ options: SamplingOptions) -> Int? { nil }

  /// Columns of a grid for people: one for each of the images that belong together, unless there are too many.
  public func sheetColumns(_ options: SamplingOptions) -> Int {
    let columns = columns(options) ?? 8
    return columns <= 20 ? columns : 8
  }
}

/// Makes images in many steps that can be watched.
public protocol StepwiseSampling: Sampling {
  /// Called after every step with the current images; `first` is the number of the first one, and step 0 is the initial
  /// noise. Images are `[N, H, W, C]`, float32, with values 0 to 1 and beyond. The last ones may include images that
  /// were not asked for.
  typealias StepWatcher = (_ step: Int, _ first: Int, _ images: Tensor) -> Void

  /// Like ``Sampling/sample(_:_:progress:)``.
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

/// Options of a sampler; nil means the model's own default.
public struct SamplingOptions: Sendable {
  public var seed: UInt64
  public var steps: Int?
  public var sampler: String?
  /// The conditions to draw in turn: image k shows condition k mod their number. Nil for all classes that had training
  /// images, or for nothing in particular if the model knows texts.
  public var conditions: [Condition]?
  /// What images should not show; nil for nothing in particular. Guidance goes from there to the condition.
  public var negative: Condition?
  /// How much the condition counts: 1 as trained; higher values exaggerate.
  public var guidance: Float?
  public var eta: Double?
  /// How many images are made together, at least 1. Each image is the same whichever others are made with it. Fewer
  /// take less memory and can be stopped sooner.
  public var chunk: Int

  public static let usualChunk = 16

  public init(
    seed: UInt64 = 0, steps: Int? = nil, sampler: String? = nil, conditions: [Condition]? = nil,
    negative: Condition? = nil, guidance: Float? = nil, eta: Double? = nil,
    chunk: Int = SamplingOptions.usualChunk
  ) {
    self.seed = seed
    self.steps = steps
    self.sampler = sampler
    self.conditions = conditions
    self.negative = negative
    self.guidance = guidance
    self.eta = eta
    self.chunk = chunk
  }
}

/// Has an image for every code, so that codes can be interpolated.
public protocol CodeDecoding: Model {
  /// Images of codes `[N, …]`.
  func decode(_ codes: Tensor) -> Tensor
  /// Images of codes `[N, …]`, with options. Conditions are those of the codes in turn; nil for none.
  ///
  /// - Parameters:
  ///   - codes: `[N, …]`.
  ///   - options: the model's sampling options.
  ///   - progress: receives the share that is done, 0 to 1.
  /// - Throws: `UserError` (usage) if the model does not take the options.
  func decode(_ codes: Tensor, _ options: SamplingOptions, progress: (Double) throws -> Void) throws -> Tensor
  /// The options in effect when codes are decoded, for a picture's recipe.
  ///
  /// - Throws: `UserError` (usage) if the model does not take the options.
  func describe(decoding options: SamplingOptions) throws -> [(key: String, value: String)]
  /// The codes of random images `range` of a seed; nil, as by default, if no distribution of codes is known.
  func randomCodes(_ range: Range<Int>, seed: UInt64) -> Tensor?
  /// The codes that decode, with the same options, to the random images of the options' seed.
  func randomCodes(_ range: Range<Int>, _ options: SamplingOptions) -> Tensor?
  /// How to go from code to code; in a straight line by default.
  var interpolation: Interpolation { get }
}

/// Also has a code for every image, so that images can be encoded and decoded.
public protocol ImageEncoding: CodeDecoding {
  /// Codes of images: `[N, …]`.
  func encode(_ images: Tensor) -> Tensor
  /// The codes that decode, with the same options, to the images.
  ///
  /// - Parameters:
  ///   - images: float32 `[N, H, W, C]`, 0 to 1.
  ///   - options: the model's sampling options.
  ///   - progress: receives the share that is done, 0 to 1; if it throws, the work ends.
  /// - Throws: `UserError` (usage) if the model does not take the options.
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

/// How to go from one code to another.
public enum Interpolation: String, Sendable {
  case linear
  /// Along the great circle, for Gaussian noise: its length must not shrink on the way.
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
        // For nearly parallel codes, the line is the arc, and the sine is too small to divide by.
        if sin(angle) > 1e-4 { (first, second) = (sin((1 - t) * angle) / sin(angle), sin(t * angle) / sin(angle)) }
      }
      return zip(a, b).map { first * $0 + second * $1 }
    }
  }
}

/// Has a code of independent standard normal numbers for every image. It draws images by decoding random codes.
public protocol GaussianCodes: Sampling, CodeDecoding {
  /// The length of a code `[N, latent]`.
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
  /// - Parameter known: the options that the model takes; all others must be nil.
  /// - Throws: `UserError` (usage) with the option's name.
  func refuse(except known: Set<String>) throws {
    let isText = conditions?.contains { if case .text = $0 { true } else { false } } ?? false
    let given: [(name: String, isGiven: Bool)] = [
      ("steps", steps != nil), ("sampler", sampler != nil), (isText ? "prompt" : "label", conditions != nil),
      ("negative", negative != nil), ("guidance", guidance != nil), ("eta", eta != nil),
    ]
    for option in given where option.isGiven && !known.contains(option.name) {
      throw UserError(.usage, "\(field: option.name): this model draws an image in one pass and has no such choice")
    }
  }
}

/// Compresses images to small latents, in which other models work (Rombach et al. 2022).
public protocol LatentCoding: Model {
  /// The shape of the latents of this many images of the model's size: `[N, h, w, c]`.
  func latentShape(_ count: Int) -> Shape
  /// The latents of images (float32 `[N, H, W, C]`, 0 to 1): float32 `[N, h, w, c]`, scaled to a deviation of about 1.
  /// An image's latents are the same whichever others it is among.
  func latents(of images: Tensor) -> Tensor
  /// The images of latents: float32 `[N, H, W, C]`, 0 to 1 and beyond.
  func images(ofLatents latents: Tensor) -> Tensor
}

/// Undoes damage to images.
public protocol Restoring: Model {
  /// The damage that it repairs best, and the default of `easel denoise`.
  var corruption: Corruption { get }
  /// Repairs damaged images.
  ///
  /// - Parameters:
  ///   - images: float32 `[N, H, W, C]`, 0 to 1 and beyond.
  ///   - corruption: the damage to the images.
  ///   - seed: the seed of the model's random numbers.
  ///   - progress: receives the share that is done, 0 to 1; if it throws, the work ends.
  /// - Throws: `UserError` (usage) if it cannot repair this kind of damage.
  func restore(
    _ images: Tensor, from corruption: Corruption, seed: UInt64, progress: (Double) throws -> Void
  ) throws -> Tensor
}

/// Fills in the missing part of images.
public protocol Inpainting: Model {
  /// The side of the squares, counted from the upper left corner, that the model completes as a whole if any pixel is
  /// missing; nil if it completes single pixels.
  var inpaintingPatch: Int? { get }
  /// - Parameters:
  ///   - images: float32 `[N, H, W, C]`, 0 to 1.
  ///   - missing: float32 `[N, H, W, 1]`: 1 for pixels to complete, 0 for known ones. The values of missing pixels in
  ///     `images` are ignored.
  ///   - seed: the seed of the model's random numbers.
  ///   - progress: receives the share that is done, 0 to 1.
  /// - Returns: the images, with known pixels unchanged.
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
  ///   - options: the direction and the model's other options.
  ///   - progress: receives the share that is done, 0 to 1.
  /// - Throws: `UserError` (usage) if the model does not take the options.
  func translate(_ images: Tensor, _ options: TranslationOptions, progress: (Double) throws -> Void) throws -> Tensor
}

/// A direction of a ``Translating`` model.
public struct TranslationDirection: Sendable, Hashable {
  /// As in `--direction`: `a-to-b`.
  public var name: String
  /// The direction that leads back, if there is one.
  public var inverse: String?
  /// The run's data sets with the images that it takes and those that it makes: 0 for the first.
  public var from, to: Int

  public init(_ name: String, inverse: String? = nil, from: Int = 0, to: Int = 0) {
    (self.name, self.inverse) = (name, inverse)
    (self.from, self.to) = (from, to)
  }
}

extension Translating {
  /// The direction that the options name; the first one if they name none.
  ///
  /// - Throws: `UserError` (usage) if it does not exist.
  public func direction(_ options: TranslationOptions) throws -> TranslationDirection {
    guard let name = options.direction else { return directions[0] }
    guard let direction = directions.first(where: { $0.name == name }) else {
      throw UserError(
        .usage, "\(field: "direction"): expected \(directions.map(\.name).joined(separator: " or ")), found \(name)")
    }
    return direction
  }
}

/// Options of a translation; nil means the model's own default.
public struct TranslationOptions: Sendable {
  public var seed: UInt64
  public var direction: String?
  /// How much of the image is redrawn, 0 to 1 (diffusion).
  public var strength: Double?
  /// What to translate to (conditional models).
  public var condition: Condition?
  /// The number of moved and mirrored copies of each image in the mean (models that translate in one pass); 1 for the
  /// image alone.
  public var copies: Int

  public init(
    seed: UInt64 = 0, direction: String? = nil, strength: Double? = nil, condition: Condition? = nil,
    copies: Int = 1
  ) {
    (self.seed, self.direction, self.strength) = (seed, direction, strength)
    (self.condition, self.copies) = (condition, copies)
  }

  /// Checks options for models that translate an image in one pass.
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
public protocol LikelihoodBounding: Model {
  /// Figures of each image by name, such as `elbo`, `reconstruction`, `kl` in nats or `bits-per-dimension`.
  ///
  /// - Parameters:
  ///   - images: images of the model's size and channels.
  ///   - importanceSamples: the number of samples for the tighter bound; nil to omit it.
  ///   - seed: the seed of the random numbers that the bound uses.
  ///   - progress: receives the share that is done, 0 to 1.
  /// - Throws: `UserError` (usage) if the model does not have the bound.
  func likelihood(
    _ images: Batch, importanceSamples: Int?, seed: UInt64, progress: (Double) throws -> Void
  ) throws -> [String: [Double]]
}

/// Describes an image by numbers that mean more than its pixels, for probes and distances.
public protocol FeatureExtracting: Model {
  /// Float32 `[N, features]`.
  func features(_ images: Tensor) -> Tensor
}

/// Describes images by maps of features that can be differentiated with respect to the images, for perceptual losses.
public protocol DifferentiableFeatures: FeatureExtracting {
  /// Makes sure that images have enough pixels, and as many channels as the model takes.
  ///
  /// - Throws: `UserError` (usage) if they do not.
  func requireFeatureMaps(of data: DataDescription) throws
  /// The maps of several layers, finest first, each `[N, h, w, c]` in the model's type. Images may have another size
  /// than those that the model was trained on: float32 `[N, H, W, C]`, 0 to 1.
  func featureMaps(_ images: Variable) -> [Variable]
}

/// Recognises what images show.
public protocol Classifying: FeatureExtracting, DifferentiableClassifying {
  /// The logits of features from ``FeatureExtracting/features(_:)``: float32 `[N, classes]`, in the order of the data's
  /// class names.
  func logits(ofFeatures features: Tensor) -> Tensor
}

extension Classifying {
  /// Float32 `[N, classes]`, in the order of the data's class names.
  public func logits(_ images: Tensor) -> Tensor { logits(ofFeatures: features(images)) }
}

/// Gives images and texts vectors in one space: what belongs together is near.
public protocol ImageTextEmbedding: TextReading {
  /// E, the length of a vector.
  var embeddingWidth: Int { get }
  /// Unit vectors of images, float32 `[N, E]`. Images of other sizes than the model's are resized.
  func embed(images: Tensor) -> Tensor
  /// Unit vectors of texts, float32 `[N, E]`. What a text has beyond the model's longest is not read.
  func embed(texts: [String]) -> Tensor
}
