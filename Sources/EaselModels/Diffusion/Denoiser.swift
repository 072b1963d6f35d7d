import EaselLayers
import EaselSupport

/// A U-Net that separates images from noise at any level, with its settings: what diffusion and consistency models
/// share.
///
/// Inside, images have values −1 to 1, or are the latents of an autoencoder (Rombach et al. 2022). Optionally the network is
/// conditioned on labels, captions or pictures, with classifier-free guidance (Ho and Salimans 2022).
public struct Denoiser {
  let context: ModelContext
  let settings: DiffusionSettings
  let schedule: NoiseSchedule
  let space: any DiffusionSpace
  /// The conditions that it takes.
  let kind: ConditionKind
  private let network: UNet
  /// Makes what the network reads of the conditions; nil for an unconditional network.
  private let conditioner: (any Conditioner)?
  private let reader: TextReader?
  /// Gives images the vectors that are their conditions; nil for a network that reads none.
  private let likeness: (any ImageTextEmbedding)?

  /// The purposes that random numbers are drawn for in training.
  enum Draw {
    static let noise: UInt32 = 0
    static let level: UInt32 = 1
    static let labelDropout: UInt32 = 2
    static let augmentation: UInt32 = 3
    static let caption: UInt32 = 6
    /// The first of the purposes of the dropout layers.
    static let dropout: UInt32 = 16
  }

  /// - Throws: `UserError` (usage) if the network is conditional and the data have no labels or captions, and if a part is
  ///   missing or made for other images.
  init(_ settings: DiffusionSettings, _ context: ModelContext, _ scope: Scope) throws {
    if settings.conditional, context.data.classNames.isEmpty {
      throw UserError(
        .usage, "conditional: expected data with labels, found none",
        hint: "Set conditional=false, or put the images into one folder for each class.")
    }
    self.settings = settings
    self.context = context
    schedule = settings.schedule
    for (path, name) in [(\.space, settings.space), (\.text, settings.text), (\.likeness, settings.likeness)]
      as [(KeyPath<DiffusionSettings, String>, String)]
    where !name.isEmpty && context.parts[DiffusionSettings.key(path)] == nil {
      throw UserError(
        .usage, "\(DiffusionSettings.key(path)): expected the model \(name) as a part, found none")
    }
    let autoencoder = context.parts[DiffusionSettings.key(\.space)] as? any LatentCoding
    if let data = autoencoder?.context.data, data.shape(1) != context.data.shape(1) {
      throw UserError(
        .usage,
        "space: \(settings.space) is for images of \(data.width)×\(data.height) with \(data.channels) channels, found "
          + "\(context.data.width)×\(context.data.height) with \(context.data.channels)",
        hint: "Train both with the same \(field: "image-size").")
    }
    space = autoencoder.map { LatentSpace($0) } ?? PixelSpace(context: context)
    let reader = try TextReader(settings, context, scope)
    let likeness = context.parts[DiffusionSettings.key(\.likeness)] as? any ImageTextEmbedding
    if let channels = likeness?.context.data.channels, channels != context.data.channels {
      throw UserError(
        .usage,
        "likeness: \(settings.likeness) is for images of \(channels) channels, found \(context.data.channels)")
    }
    kind =
      likeness.map { .embeddings(width: $0.embeddingWidth) }
      ?? (reader != nil ? .texts : settings.conditional ? .classes : .nothing)
    network = UNet(
      settings.network(
        channels: space.channels, classCount: settings.conditional ? context.data.classNames.count : 0,
        tokenWidth: reader?.tokenWidth,
        embeddingWidth: likeness?.embeddingWidth ?? (settings.pooledText ? reader?.tokenWidth : nil) ?? 0), scope)
    conditioner =
      reader?.conditioner ?? likeness.map { VectorConditioner(width: $0.embeddingWidth, on: context.backend) }
      ?? network.conditioner
    self.reader = reader
    self.likeness = likeness
  }

  /// The switches of the network.
  package var networkConfiguration: UNetConfiguration { network.configuration }

  /// Rows and columns of the space that the network works in.
  package var spaceSize: (height: Int, width: Int) { (space.shape(1)[1], space.shape(1)[2]) }

  /// Whether predicted images are clipped to the range of pixels.
  package var clips: Bool { settings.clip && space.isBounded }

  /// See ``TextReading/remark(on:)``.
  func remark(on text: String) -> String? { reader?.remark(on: text) ?? likeness?.remark(on: text) }

  // MARK: Training

  /// A batch as the network learns from it: the images with their conditions, and noise for each.
  struct Lesson {
    /// Points of the space, `[N, h, w, c]`.
    let images: Tensor
    /// The noise, of the images' shape.
    let noise: Tensor
    fileprivate let conditions: [Condition]
    fileprivate let augmentation: Tensor?
    fileprivate let dropout: RandomDraw?

    /// The images, each with its level of noise: x.
    func noisy(at levels: [NoiseLevel]) -> Tensor {
      images.backend.scaledSum(
        images, by: images.backend.perSample(levels, \.signal), noise, by: images.backend.perSample(levels, \.sigma))
    }
  }

  /// - Parameters:
  ///   - isTraining: whether images are changed, labels omitted and activations dropped, according to the settings.
  ///   - draw: the random numbers of a purpose for these images.
  func lesson(_ batch: Batch, isTraining: Bool, _ draw: (UInt32) -> RandomDraw) -> Lesson {
    let backend = context.backend
    let (images, augmentation) = space.lesson(
      batch, isTraining && settings.augment > 0 ? NonLeakyAugmentation(probability: settings.augment) : nil,
      draw(Draw.augmentation))
    let noise = Tensor(uninitialized: images.shape, on: backend)
    backend.fillNormal(noise, draw(Draw.noise))
    return Lesson(
      images: images, noise: noise, conditions: isTraining ? drawnConditions(of: batch, draw) : conditions(of: batch),
      augmentation: augmentation, dropout: isTraining && settings.dropout > 0 ? draw(Draw.dropout) : nil)
  }

  /// The network's output for a lesson's images: float32 `[N, h, w, outputs]`.
  ///
  /// - Parameter noisy: the images, each with its level of noise.
  func output(_ noisy: Tensor, of lesson: Lesson, at levels: [NoiseLevel], on tape: Tape?) -> Variable {
    network(
      Variable(noisy.cast(to: context.type), on: tape), timesteps: levels.map(\.condition),
      conditioning: conditioning(lesson.conditions, on: tape), augmentation: lesson.augmentation,
      dropout: lesson.dropout
    ).cast(to: .float32)
  }

  /// The conditions that the network receives for a batch in training: one of an image's captions is drawn, and some
  /// conditions are dropped.
  private func drawnConditions(of batch: Batch, _ draw: (UInt32) -> RandomDraw) -> [Condition] {
    var conditions = conditions(of: batch, chosenBy: draw(Draw.caption))
    if kind == .nothing { return conditions }
    let numbers = Tensor(uninitialized: [batch.count], on: context.backend)
    context.backend.fillUniform(numbers, draw(Draw.labelDropout))
    for (index, number) in numbers.values().enumerated() where number < settings.labelDropout {
      conditions[index] = .nothing
    }
    return conditions
  }

  /// The conditions that images have of themselves.
  ///
  /// - Parameter draw: chooses among an image's captions; nil for the first.
  func conditions(of batch: Batch, chosenBy draw: RandomDraw? = nil) -> [Condition] {
    switch kind {
    case .nothing: return [Condition](repeating: .nothing, count: batch.count)
    case .classes: return batch.conditions
    case .texts:
      return batch.captions(chosenBy: draw, on: context.backend).map { $0.map(Condition.text) ?? .nothing }
    case .embeddings: return conditions(like: batch.tensor(on: context.backend))
    }
  }

  /// The vectors of images as conditions; traps for a network that reads none.
  func conditions(like images: Tensor) -> [Condition] {
    guard let likeness else { fatalShape("a network without vectors was asked for those of images") }
    let (vectors, width) = (likeness.embed(images: images).values(), likeness.embeddingWidth)
    return (0..<images.shape[0]).map { .embedding(Array(vectors[$0 * width..<($0 + 1) * width])) }
  }

  private func conditioning(_ conditions: [Condition], on tape: Tape? = nil) -> Conditioning {
    conditioner?(embedded(conditions), type: context.type, on: tape) ?? Conditioning()
  }

  /// Texts for a network that reads vectors become the vectors of the texts.
  func embedded(_ conditions: [Condition]) -> [Condition] {
    guard let likeness else { return conditions }
    return conditions.map { condition in
      guard case .text(let text) = condition else { return condition }
      return .embedding(likeness.embed(texts: [text]).values())
    }
  }

  // MARK: The network in use

  /// The conditions of images, in the form that the network reads, and the scale of the guidance.
  struct Guidance {
    /// For the images and, if `isBeside`, for the same number of images without a condition.
    fileprivate let conditioning: Conditioning
    fileprivate let isBeside: Bool
    fileprivate let scale: Float
  }

  /// - Parameters:
  ///   - count: how many images there are.
  ///   - conditions: one for each image; nil for none.
  ///   - negative: what to go away from; nothing in particular by default.
  ///   - scale: how far to go from the prediction without a condition to the one with it.
  func guidance(
    of count: Int, to conditions: [Condition]? = nil, from negative: Condition = .nothing, scale: Float = 1
  ) -> Guidance {
    let nothing = [Condition](repeating: conditions == nil ? .nothing : negative, count: count)
    guard let conditions, scale != 0 else {
      return Guidance(conditioning: conditioning(nothing), isBeside: false, scale: 1)
    }
    let isBeside = scale != 1
    return Guidance(
      conditioning: conditioning(isBeside ? conditions + nothing : conditions), isBeside: isBeside, scale: scale)
  }

  /// The network's own output, to compare it with another program's: float32 `[N, h, w, outputs]`.
  ///
  /// - Parameters:
  ///   - x: points of the space, `[N, h, w, c]`.
  ///   - timestep: the timestep of all.
  ///   - tokens: what a network with cross-attention reads, `[N, T, tokenWidth]`; nil for any other.
  package func output(_ x: Tensor, timestep: Float, tokens: Tensor?) -> Tensor {
    context.backend.separately {
      network(
        Variable(x.cast(to: context.type)), timesteps: [Float](repeating: timestep, count: x.shape[0]),
        conditioning: Conditioning(tokens: tokens.map { (Variable($0.cast(to: context.type)), nil) })
      ).value.cast(to: .float32)
    }
  }

  /// The images at one level, denoised by the network.
  func denoised(_ x: Tensor, at level: NoiseLevel, _ guidance: Guidance, clips: Bool) -> Denoised {
    let (backend, channels) = (context.backend, space.channels)
    func output(_ x: Tensor) -> Tensor {
      network(
        Variable(x.cast(to: context.type)), timesteps: [Float](repeating: level.condition, count: x.shape[0]),
        conditioning: guidance.conditioning
      ).value.cast(to: .float32)
    }
    func mean(_ output: Tensor) -> Tensor {
      settings.variance == .learnedRange ? backend.slice(output, 0..<channels) : output
    }

    let conditional: Tensor
    var prediction: Tensor
    if guidance.isBeside {
      // Both passes in one, with twice the images: w · with − (w − 1) · without.
      let count = x.shape[0]
      let twice = Tensor(uninitialized: Shape([2 * count] + x.shape.sizes.dropFirst()), on: backend)
      backend.copy(x, into: twice[0..<count])
      backend.copy(x, into: twice[count..<2 * count])
      let both = output(twice)
      conditional = both[0..<count]
      prediction = backend.add(
        mean(conditional), mean(both[count..<2 * count]), alpha: guidance.scale, beta: 1 - guidance.scale)
    } else {
      conditional = output(x)
      prediction = mean(conditional)
    }
    var found = settings.prediction.interpret(prediction, at: level, x, clips: clips, to: settings.clipRange)
    if settings.variance == .learnedRange {
      found.varianceOutput = backend.slice(conditional, channels..<2 * channels)
    }
    return found
  }

  /// Standard normal numbers for images from `first` on; every `draw` has different ones.
  func normal(_ shape: Shape, seed: UInt64, first: Int, draw: Int) -> Tensor {
    let noise = Tensor(uninitialized: shape, on: context.backend)
    context.backend.fillNormal(
      noise, RandomDraw(seed: seed, stream: .sampling, index: UInt64(first), draw: UInt32(draw)))
    return noise
  }

}

/// What makes tokens of the texts of a diffusion model: a text encoder of its own or that of another checkpoint.
private struct TextReader {
  let tokenWidth: Int
  let conditioner: any Conditioner
  let remark: (String) -> String?

  /// - Returns: nil for a model that learns no captions.
  /// - Throws: `UserError` (usage) if there is no vocabulary.
  init?(_ settings: DiffusionSettings, _ context: ModelContext, _ scope: Scope) throws {
    guard settings.captions else { return nil }
    guard let vocabulary = context.vocabulary else {
      throw UserError(.usage, "captions: expected data with captions, found none")
    }
    if let encoder = context.parts[DiffusionSettings.key(\.text)] as? any TextEncoding {
      tokenWidth = encoder.tokenWidth
      conditioner = FrozenTextConditioner(encoder: encoder, isPooled: settings.pooledText)
      remark = { vocabulary.remark(on: $0, length: encoder.textLength) }
    } else {
      let own = TextConditioner(
        vocabulary, settings.textNetwork(vocabularySize: vocabulary.tokenizer.tokens.count),
        isPooled: settings.pooledText, scope["text_encoder"])
      tokenWidth = settings.textWidth
      conditioner = own
      remark = own.remark
    }
  }

  func remark(on text: String) -> String? { remark(text) }
}

extension Backend {
  /// A number from each sample's level: float32 `[N]`.
  func perSample(_ levels: [NoiseLevel], _ value: (NoiseLevel) -> Double) -> Tensor {
    Tensor(levels.map { Float(value($0)) }, shape: [levels.count], on: self)
  }
}
