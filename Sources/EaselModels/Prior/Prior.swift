import EaselLayers
import EaselSupport

/// Finds vectors of images for texts by diffusion: for a model that draws images by such vectors, a text's own vector is
/// the wrong kind of point, since images and texts lie apart in the space that both share (Ramesh et al. 2022).
///
/// It stands where the model stands whose vectors it learned: its vectors of images are that model's, its vectors of texts
/// are drawn.
///
/// The transformer sees four tokens: the text's vector, the level of noise, the noisy vector, and one that stands for the
/// answer, as in lucidrains' DALLE2-pytorch. Vectors are scaled so that each of their numbers has variance 1.
public final class Prior: SingleLossModel {
  public let context: ModelContext
  public let settings: PriorSettings
  public let components: [Component]
  private let embedding: any ImageTextEmbedding
  private let timestepEmbedding: TimestepEmbedding
  private let text, level, noisy: Linear
  /// `[1, width]`: what stands for no text, and what stands for the answer.
  private let nothing, query: Parameter
  private let blocks: [TransformerBlock]
  private let norm: LayerNorm
  private let output: Linear

  /// The noise that vectors are drawn from. Their numbers have deviation 1.
  private let schedule = NoiseSchedule(.edm, timesteps: 1000, dataDeviation: 1)

  /// The purposes that random numbers are drawn for in training.
  private enum Draw {
    static let noise: UInt32 = 0
    static let level: UInt32 = 1
    static let textDropout: UInt32 = 2
    static let caption: UInt32 = 3
  }

  /// - Throws: `UserError` (usage) if no model of vectors is among the parts, or if it is for images of other channels.
  public init(_ settings: PriorSettings, _ context: ModelContext) throws {
    guard let embedding = context.parts[PriorSettings.key(\.clip)] as? any ImageTextEmbedding else {
      throw UserError(
        .usage, "clip: expected the checkpoint of a model of images and texts, found none",
        hint: "Train one with easel train clip, and name it: \(field: "set") clip=RUN")
    }
    guard embedding.context.data.channels == context.data.channels else {
      throw UserError(
        .usage,
        "clip: \(settings.clip) is for images of \(embedding.context.data.channels) channels, found "
          + "\(context.data.channels)")
    }
    (self.settings, self.context, self.embedding) = (settings, context, embedding)
    let (scope, width, vector) = (Scope(), settings.width, embedding.embeddingWidth)
    timestepEmbedding = TimestepEmbedding(width: width)
    text = Linear(vector, width, scope["text_projection"])
    level = Linear(width, width, scope["time_embedding"])
    noisy = Linear(vector, width, scope["input_projection"])
    nothing = scope.parameter("null_embedding", [1, width], .normal(deviation: 0.02))
    query = scope.parameter("query_embedding", [1, width], .normal(deviation: 0.02))
    blocks = (0..<settings.layers).map { TransformerBlock(width: width, heads: settings.heads, scope["blocks"][$0]) }
    norm = LayerNorm(width, epsilon: 1e-6, scope["norm"])
    output = Linear(width, vector, initializer: .zeros, scope["output_projection"])
    components = [try Component("", scope, context)]
  }

  // MARK: The network

  /// The velocity at each sample's level.
  ///
  /// - Parameters:
  ///   - x: noisy vectors, float32 `[N, E]`.
  ///   - texts: vectors of texts, scaled, float32 `[N, E]`.
  ///   - isTold: whether each sample's text is shown.
  /// - Returns: float32 `[N, E]`.
  private func velocity(
    _ x: Tensor, at levels: [NoiseLevel], texts: Tensor, isTold: [Bool], on tape: Tape?
  ) -> Variable {
    let (count, backend, type) = (x.shape[0], context.backend, context.type)
    func column(_ values: [Float]) -> Tensor { Tensor(values, shape: [count], on: backend) }
    func repeated(_ parameter: Parameter) -> Variable {
      let ones = Variable(Tensor(repeating: 1, shape: [count, 1], on: backend), on: tape)
      return matmul(ones, parameter.variable(on: tape))
    }
    let told = scaleSamples(text(Variable(texts, on: tape)), by: column(isTold.map { $0 ? 1 : 0 }))
    let untold = scaleSamples(repeated(nothing), by: column(isTold.map { $0 ? 0 : 1 }))
    let times = Tensor(timestepEmbedding(levels.map(\.condition)), shape: [count, settings.width], on: backend)
    let parts = [told + untold, level(Variable(times, on: tape)), noisy(Variable(x, on: tape)), repeated(query)]
    var tokens = concatenate(parts).reshaped([count, parts.count, settings.width]).cast(to: type)
    for block in blocks { tokens = block(tokens) }
    // The last token is the answer.
    let answer = splitChannels(tokens.reshaped([count, parts.count * settings.width]), into: parts.count)[
      parts.count - 1]
    return output(norm(answer)).cast(to: .float32)
  }

  /// What unit vectors are multiplied by, so that each of their numbers has variance 1.
  private var scale: Float { Float(embedding.embeddingWidth).squareRoot() }

  private func scaled(_ vectors: Tensor) -> Tensor { context.backend.affine(vectors, scale: scale, shift: 0) }

  // MARK: Training

  public func loss(_ batch: Batch, on tape: Tape?, draw: (UInt32) -> RandomDraw) -> (loss: Variable, metrics: Metrics) {
    let backend = context.backend
    let images = scaled(embedding.embed(images: batch.tensor(on: backend)))
    let captions = batch.captions(chosenBy: tape == nil ? nil : draw(Draw.caption), on: backend)
    let levels = schedule.trainingLevels(batch.count, draw(Draw.level), on: backend)
    let noise = Tensor(uninitialized: images.shape, on: backend)
    backend.fillNormal(noise, draw(Draw.noise))
    let kept = Tensor(uninitialized: [batch.count], on: backend)
    backend.fillUniform(kept, draw(Draw.textDropout))
    func sum(_ weights: (NoiseLevel) -> (image: Double, noise: Double)) -> Tensor {
      backend.scaledSum(
        images, by: backend.perSample(levels) { weights($0).image }, noise,
        by: backend.perSample(levels) { weights($0).noise })
    }
    let found = velocity(
      sum { ($0.signal, $0.sigma) }, at: levels, texts: scaled(embedding.embed(texts: captions.map { $0 ?? "" })),
      isTold: zip(captions, kept.values()).map { $0 != nil && (tape == nil || $1 >= settings.textDropout) }, on: tape)
    return (elementwiseLoss(.squaredError, found, sum(PredictionTarget.velocity.target)), [:])
  }

  // MARK: Drawing vectors

  /// The vectors of images that texts may belong to, of one candidate: `[N, E]`, not yet of length 1.
  ///
  /// Every text is drawn from the same noise, so that its vector depends on nothing else.
  private func draw(_ texts: Tensor, candidate: Int) -> Tensor {
    let (count, backend) = (texts.shape[0], context.backend)
    let sampler = DiffusionSampler(.dpm)
    let levels = sampler.levels(settings.samplerSteps, of: schedule, LevelSpacing(.trailing))
    let one = Tensor(uninitialized: [1, texts.shape[1]], on: backend)
    backend.fillNormal(one, RandomDraw(seed: 0, stream: .sampling, index: UInt64(candidate)))
    let start = Tensor(
      [[Float]](repeating: one.values(), count: count).flatMap(\.self), shape: texts.shape, on: backend)
    func output(_ x: Tensor, _ level: NoiseLevel, isTold: Bool) -> Tensor {
      velocity(
        x, at: [NoiseLevel](repeating: level, count: count), texts: texts,
        isTold: [Bool](repeating: isTold, count: count), on: nil
      ).value
    }
    return sampler.walk(start, through: levels) { x, level in
      var found = output(x, level, isTold: true)
      if settings.guidance != 1 {
        found = backend.add(
          found, output(x, level, isTold: false), alpha: settings.guidance, beta: 1 - settings.guidance)
      }
      return PredictionTarget.velocity.interpret(found, at: level, x, clips: false)
    } noise: { _ in
      fatalShape("a sampler without noise in its steps asked for some")
    }
  }
}

extension Prior: ImageTextEmbedding {
  public var embeddingWidth: Int { embedding.embeddingWidth }

  public func embed(images: Tensor) -> Tensor { embedding.embed(images: images) }

  /// A vector of an image for each text: of some candidates, the one nearest to the text's own.
  public func embed(texts: [String]) -> Tensor {
    let own = embedding.embed(texts: texts)
    return Chunks.map(own) { own, _ in
      let (count, width) = (own.shape[0], embeddingWidth)
      let wanted = own.values()
      var best = [Float](repeating: -.infinity, count: count)
      var vectors = [Float](repeating: 0, count: count * width)
      for candidate in 0..<settings.candidates {
        let found = unitRows(Variable(draw(scaled(own), candidate: candidate))).value.values()
        for n in 0..<count {
          let places = n * width..<(n + 1) * width
          let nearness = places.reduce(0) { $0 + found[$1] * wanted[$1] }
          if nearness > best[n] {
            best[n] = nearness
            vectors.replaceSubrange(places, with: found[places])
          }
        }
      }
      return Tensor(vectors, shape: own.shape, on: context.backend)
    }
  }

  public func remark(on text: String) -> String? { embedding.remark(on: text) }
}
