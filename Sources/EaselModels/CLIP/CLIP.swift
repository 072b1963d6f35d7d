import EaselLayers
import EaselSupport
import EaselText
import Foundation

/// Two networks that learn to give an image and the text that describes it vectors near to each other (Radford et al.
/// 2021).
///
/// Parameters have the names of transformers' `CLIPModel`: `vision_model`, `text_model`, `visual_projection`,
/// `text_projection`, `logit_scale`.
public final class CLIP: SingleLossModel {
  public let context: ModelContext
  public let components: [Component]
  public let settings: CLIPSettings
  private let imageNetwork: ImageNetwork
  private let reader: CLIPTextReader
  private let heads: CLIPHeads
  public let embeddingWidth: Int

  /// The purposes that random numbers are drawn for.
  private enum Draw {
    static let caption: UInt32 = 0
  }

  /// - Throws: `UserError`: usage if images are too small for the network; bad data without a vocabulary.
  public init(_ settings: CLIPSettings, _ context: ModelContext) throws {
    (self.settings, self.context) = (settings, context)
    let scope = Scope()
    imageNetwork = try ImageNetwork(settings, context.data, scope["vision_model"])
    reader = try CLIPTextReader(settings, context, scope)
    embeddingWidth = settings.embeddingWidth
    heads = settings.heads(scope)
    components = [try Component("", scope, context)]
  }

  // MARK: Training

  /// A batch as vectors, with the texts that they belong to.
  private struct Pairs {
    let images, texts: Variable
    let captions: [String]
  }

  /// The vectors of a batch: float32 `[N, E]` of images and of one caption of each, drawn by `draw`, or the first.
  private func pairs(_ batch: Batch, chosenBy draw: RandomDraw?, on tape: Tape?) -> Pairs {
    // Training images have captions; a held-out image without one has the empty text.
    let captions = batch.captions(chosenBy: draw, on: context.backend).map { $0 ?? "" }
    return Pairs(
      images: heads.embed(images: features(batch.tensor(on: context.backend), on: tape)),
      texts: embed(captions, on: tape), captions: captions)
  }

  /// `[N, image width]`.
  private func features(_ images: Tensor, on tape: Tape?) -> Variable {
    imageNetwork(Variable(normalized(images), on: tape).cast(to: context.type))
  }

  /// Images, 0 to 1, with the mean and the deviation that the network takes.
  private func normalized(_ images: Tensor) -> Tensor {
    guard let (scales, shifts) = settings.normalization(of: context.data) else {
      return context.backend.affine(images, scale: 2, shift: -1)
    }
    let channels = scales.count
    let matrix = (0..<channels * channels).map { $0 / channels == $0 % channels ? scales[$0 % channels] : 0 }
    return context.backend.linear(
      images, weight: Tensor(matrix, shape: [channels, channels], on: context.backend),
      bias: Tensor(shifts, shape: [channels], on: context.backend), residual: nil)
  }

  private func embed(_ texts: [String], on tape: Tape?) -> Variable {
    heads.embed(texts: reader(texts, type: context.type, on: tape).pooled)
  }

  private func loss(_ pairs: Pairs, on tape: Tape?) -> (loss: Variable, metrics: Metrics) {
    let scale = heads.logitScale.variable(on: tape)
    let result = ContrastiveLoss(
      images: pairs.images, texts: pairs.texts, captions: pairs.captions, logitScale: scale)
    return (
      result.loss,
      [
        "chance": log(Float(pairs.captions.count)), "temperature": exp(-scale.value.item()),
        "image-accuracy": result.imageAccuracy, "text-accuracy": result.textAccuracy,
      ]
    )
  }

  public func loss(_ batch: Batch, on tape: Tape?, draw: (UInt32) -> RandomDraw) -> (loss: Variable, metrics: Metrics) {
    loss(pairs(batch, chosenBy: tape == nil ? nil : draw(Draw.caption), on: tape), on: tape)
  }

  /// One step. The loss compares all pairs of the batch, so a batch in parts takes two forward passes, as in open_clip
  /// (`--accum-freq`): one for the vectors of all, and one for the gradients of each part.
  public func trainingStep(_ batch: Batch, _ step: TrainingStep) -> Metrics {
    func pairs(_ part: Batch, on tape: Tape?) -> Pairs {
      self.pairs(part, chosenBy: step.draw(Draw.caption, for: part), on: tape)
    }
    let parts = batch.parts(step.settings.accumulate)
    let tape = Tape()
    let whole = parts.count == 1 ? pairs(batch, on: tape) : joined(parts.map { pairs($0, on: nil) }, on: tape)
    var (loss, metrics) = loss(whole, on: tape)
    metrics["loss"] = loss.value.item()
    tape.backward(from: loss)
    if parts.count > 1 { backward(through: parts, from: whole, on: tape) { pairs($0, on: $1) } }
    metrics["gradient-norm"] = step.update(components[0], loss: metrics["loss"] ?? .nan)
    limitLogitScale()
    return metrics
  }

  /// The vectors of all parts as the beginning of a tape.
  private func joined(_ parts: [Pairs], on tape: Tape) -> Pairs {
    Pairs(
      images: tape.variable(joinSamples(parts.map(\.images)).value),
      texts: tape.variable(joinSamples(parts.map(\.texts)).value), captions: parts.flatMap(\.captions))
  }

  /// Adds the gradients of all parameters before the vectors, computed part by part.
  private func backward(
    through parts: [Batch], from whole: Pairs, on tape: Tape, _ pairs: (Batch, Tape) -> Pairs
  ) {
    guard let images = tape.gradient(of: whole.images), let texts = tape.gradient(of: whole.texts) else { return }
    for part in parts {
      let tape = Tape()
      let found = pairs(part, tape)
      let range = part.first..<part.first + part.count
      func along(_ x: Variable, _ direction: Tensor) -> Variable {
        weightedSum(
          sumSamples(x * Variable(direction, on: tape)),
          weights: Tensor(repeating: 1, shape: [part.count], on: context.backend))
      }
      tape.backward(from: along(found.images, images[range]) + along(found.texts, texts[range]))
    }
  }

  /// Keeps scores between the cosine itself and a hundred times it.
  private func limitLogitScale() {
    let arena = components[0].arena
    heads.logitScale.view(of: arena.values).withMutableFloats { values in
      values[0] = max(0, min(CLIPHeads.largestLogitScale, values[0]))
    }
    arena.values.storage.markModified()
  }
}

extension CLIP: FeatureExtracting {
  /// What the image network sees, before it is projected: `[N, image width]`.
  public func features(_ images: Tensor) -> Tensor {
    Chunks.map(images) { chunk, _ in features(chunk, on: nil).value.cast(to: .float32) }
  }
}

extension CLIP: ImageTextEmbedding {
  public func embed(images: Tensor) -> Tensor {
    let (width, height) = (context.data.width, context.data.height)
    var images = images
    if images.shape[1] != height || images.shape[2] != width {
      let pictures = images.images().map { $0.fitted(width: width, height: height) }
      images = Batch(pictures).tensor(on: context.backend)
    }
    return Chunks.map(images) { chunk, _ in heads.embed(images: features(chunk, on: nil)).value }
  }

  public func embed(texts: [String]) -> Tensor {
    let numbers = Tensor(repeating: 0, shape: [texts.count, 1], on: context.backend)
    return Chunks.map(numbers) { _, range in embed(Array(texts[range]), on: nil).value }
  }
}

extension CLIP: TextEncoding {
  public var tokenWidth: Int { reader.tokenWidth }
  public var textLength: Int { reader.textLength }
  public func read(_ texts: [String], type: ScalarType) -> (tokens: Tensor, pooled: Tensor) {
    let (tokens, pooled) = reader(texts, type: type, on: nil)
    return (tokens.value, pooled.value)
  }
  public func remark(on text: String) -> String? { reader.remark(on: text) }
}

/// The network of images.
private enum ImageNetwork {
  case resnet(ResidualEncoder)
  case vit(CLIPVisionTransformer)

  init(_ settings: CLIPSettings, _ data: DataDescription, _ scope: Scope) throws {
    switch settings.imageEncoder {
    case .resnet:
      try ResidualEncoder.requireSize(of: data)
      self = .resnet(
        ResidualEncoder(
          inputChannels: data.channels, baseChannels: settings.baseChannels, features: settings.imageWidth,
          blocks: settings.imageLayers, scope))
    case .vit:
      let smallest = min(data.width, data.height)
      guard settings.patch <= smallest else {
        throw UserError(
          .usage, "patch: expected at most \(smallest), the images' smaller side, found \(settings.patch)")
      }
      self = .vit(CLIPVisionTransformer(settings.imageTransformer(data), scope))
    case .none: throw UserError(.usage, "image-encoder: expected resnet or vit, found none")
    }
  }

  /// Images `[N, H, W, C]`, −1 to 1, as features `[N, image width]`.
  func callAsFunction(_ images: Variable) -> Variable {
    switch self {
    case .resnet(let encoder): encoder(images)
    case .vit(let transformer): transformer(images).pooled
    }
  }
}
