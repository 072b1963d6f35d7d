import EaselLayers
import EaselSupport
import Foundation

/// A masked autoencoder (He et al. 2022): a vision transformer that sees a part of an image's patches, and a small one
/// that predicts the pixels of the others.
///
/// Sides that are no multiple of the patch are padded with zeros; pictures are cropped back. There is no class token:
/// features are the mean over patches. Parameters are named as in facebookresearch/mae, except for `patch_embed.proj`,
/// a linear layer over a patch's pixels in the order (row, column, channel).
public final class MaskedAutoencoder: SingleLossModel {
  public let context: ModelContext
  public let components: [Component]
  private let settings: MaskedAutoencoderSettings
  private let grid: Grid
  private let encoder: Encoder
  private let decoder: Decoder

  /// The purposes that random numbers are drawn for.
  private enum Draw {
    static let mask: UInt32 = 0
    /// The first of the purposes of stochastic depth.
    static let dropPath: UInt32 = 16
  }

  public init(_ settings: MaskedAutoencoderSettings, _ context: ModelContext) throws {
    self.settings = settings
    self.context = context
    grid = Grid(context.data, patch: settings.patch)
    var check = FieldCheck()
    let visible = grid.visible(masked: settings.masked)
    check.require(
      visible > 0 && visible < grid.count,
      "masked: expected a share that leaves some of \(grid.count) patches seen and some masked, found \(settings.masked)"
    )
    check.require(
      !settings.normPixLoss || grid.pixels > 1,
      "norm-pix-loss: a patch of one pixel has no deviation; set a larger patch"
    )
    try check.finish()
    let scope = Scope()
    encoder = Encoder(settings, grid, on: context.backend, scope)
    decoder = Decoder(settings, grid, on: context.backend, scope)
    components = [try Component("", scope, context)]
  }

  // MARK: Training

  public func loss(_ batch: Batch, on tape: Tape?, draw: (UInt32) -> RandomDraw) -> (loss: Variable, metrics: Metrics) {
    let mask = PatchMask.random(
      images: batch.count, patches: grid.count, seeing: grid.visible(masked: settings.masked), draw(Draw.mask),
      on: context.backend)
    let dropping = tape == nil || settings.dropPath == 0 ? nil : draw(Draw.dropPath)
    return (loss(of: batch.tensor(on: context.backend), mask, on: tape, dropping: dropping), [:])
  }

  /// The mean squared error of masked patches of images `[N, H, W, C]`, 0 to 1.
  public func loss(of images: Tensor, _ mask: PatchMask, on tape: Tape?, dropping: RandomDraw? = nil) -> Variable {
    let patches = grid.patches(of: images)
    let prediction = predict(patches, mask, on: tape, dropping: dropping).cast(to: .float32)
    let target = settings.normPixLoss ? normalized(patches) : patches
    // The loss averages over all patches; rescale it so that it is the mean over masked patches only.
    let masked = mask.isMasked.reduce(0) { $0 + ($1 ? 1 : 0) }
    let fraction = Float(mask.isMasked.count) / Float(max(1, masked) * grid.pixels)
    let weights = Tensor(
      mask.isMasked.map { $0 ? fraction : 0 }, shape: [mask.isMasked.count], on: context.backend)
    return elementwiseLoss(
      .squaredError, prediction.reshaped([-1, grid.pixels]), target.reshaped([-1, grid.pixels]),
      reduction: .sumOverSample, weights: weights)
  }

  /// Patches, float32 `[N, T, P]`, minus their mean, divided by the root of their unbiased variance + 1e-6.
  private func normalized(_ patches: Tensor) -> Tensor {
    // The norm's variance is the biased one.
    let fraction = Float(grid.pixels - 1) / Float(grid.pixels)
    let normalization = Normalization(groups: 1, epsilon: 1e-6 * fraction, perPosition: true)
    return fraction.squareRoot()
      * context.backend.normalize(patches, shift: nil, gamma: nil, beta: nil, normalization).y
  }

  /// The network's predictions of patches, float32 `[N, T, P]`, of which it sees those that are not masked.
  private func predict(_ patches: Tensor, _ mask: PatchMask, on tape: Tape? = nil, dropping: RandomDraw? = nil)
    -> Variable
  {
    decoder(encoder(patches, mask, type: context.type, on: tape, dropping: dropping), mask)
  }

  public func benchmarkPass(_ batch: Batch) {
    _ = loss(batch, on: nil) { RandomDraw(seed: context.seed, stream: .sampling, draw: $0) }
  }
}

extension MaskedAutoencoder: Inpainting {
  public var inpaintingPatch: Int? { settings.patch }

  /// Masks every patch with a missing pixel. One image at a time, since their numbers of such patches may differ.
  public func inpaint(_ images: Tensor, missing: Tensor, seed: UInt64, progress: (Double) throws -> Void) throws
    -> Tensor
  {
    let backend = context.backend
    let count = images.shape[0]
    let (channels, size) = (context.data.channels, context.data.shape(1).count)
    let holes = missing.values()
    let seen = grid.patches(of: missing).values()
    let squares = settings.patch * settings.patch
    var pixels = images.values()
    for n in 0..<count {
      let visible = (0..<grid.count).filter { patch in
        let first = (n * grid.count + patch) * squares
        return !seen[first..<first + squares].contains { $0 > 0 }
      }
      guard !visible.isEmpty else {
        throw UserError(
          .usage, "every patch of \(settings.patch)×\(settings.patch) pixels of image \(n) has a missing pixel",
          hint: "Leave some patches whole.")
      }
      if visible.count < grid.count {
        let mask = PatchMask(visible: [visible.map(Int32.init)], of: grid.count, on: backend)
        let patches = grid.patches(of: images[n..<n + 1])
        var prediction = predict(patches, mask).value.cast(to: .float32)
        if settings.normPixLoss { prediction = denormalized(prediction, like: patches, visible) }
        let made = grid.images(of: prediction).clamped(0, 1).values()
        for pixel in 0..<size where holes[n * (size / channels) + pixel / channels] > 0 {
          pixels[n * size + pixel] = made[pixel]
        }
      }
      try progress(Double(n + 1) / Double(count))
    }
    return Tensor(pixels, shape: images.shape, on: backend)
  }

  /// The patches of one image in units of its pixels. The network predicts patches minus their mean, divided by their
  /// deviation. Since nothing is known of a patch's own mean and deviation, the averages over visible patches are used.
  private func denormalized(_ prediction: Tensor, like patches: Tensor, _ visible: [Int]) -> Tensor {
    let values = patches.values()
    var (mean, deviation): (Float, Float) = (0, 0)
    for patch in visible {
      let pixels = values[patch * grid.pixels..<(patch + 1) * grid.pixels]
      let own = pixels.reduce(0, +) / Float(grid.pixels)
      let squares = pixels.reduce(0) { $0 + ($1 - own) * ($1 - own) }
      mean += own / Float(visible.count)
      deviation += (squares / Float(grid.pixels - 1) + 1e-6).squareRoot() / Float(visible.count)
    }
    return context.backend.affine(prediction, scale: deviation, shift: mean)
  }
}

extension MaskedAutoencoder: FeatureExtracting {
  /// The mean over the encoder's tokens, with all patches visible: `[N, width]`.
  public func features(_ images: Tensor) -> Tensor {
    Chunks.map(images) { chunk, _ in
      let backend = context.backend
      let count = chunk.shape[0]
      let mask = PatchMask.none(images: count, patches: grid.count, on: backend)
      let tokens = encoder(grid.patches(of: chunk), mask, type: context.type, on: nil, dropping: nil).value
      let sums = Tensor(repeating: 0, shape: [count, settings.width], on: backend)
      for n in 0..<count { backend.sumRows(tokens[n], into: sums[n]) }
      return 1 / Float(grid.count) * sums
    }
  }
}

// MARK: - Networks

/// How images are divided into patches, after their sides are padded to multiples of the patch.
private struct Grid {
  let data: DataDescription
  let patch: Int
  let rows, columns: Int
  private let border: Insets

  init(_ data: DataDescription, patch: Int) {
    self.data = data
    self.patch = patch
    (rows, columns) = ((data.height + patch - 1) / patch, (data.width + patch - 1) / patch)
    let (down, across) = (rows * patch - data.height, columns * patch - data.width)
    // Pad right and bottom only, so that patch (0, 0) starts at the corner, as masks of patches assume.
    border = Insets(bottom: down, right: across)
  }

  var count: Int { rows * columns }
  /// The length of a patch.
  var pixels: Int { patch * patch * data.channels }

  /// How many patches an encoder sees if a share is masked.
  func visible(masked: Float) -> Int { Int(Double(count) * (1 - Double(masked))) }

  /// Images `[N, H, W, …]` as patches `[N, T, patch·patch·…]`.
  func patches(of images: Tensor) -> Tensor {
    images.backend.patches(border == Insets() ? images : images.backend.pad(images, border), size: patch)
  }

  func images(of patches: Tensor) -> Tensor {
    let whole = patches.backend.joinPatches(patches, size: patch, height: rows * patch, width: columns * patch)
    return border == Insets() ? whole : whole.backend.pad(whole, -border)
  }
}

/// Distinguishes patches by their position: `[T, width]`.
private enum Positions {
  case fixed(Tensor)
  case learned(Parameter)

  init(_ grid: Grid, width: Int, learned: Bool, _ name: String, on backend: any Backend, _ scope: Scope) {
    if learned {
      self = .learned(scope.parameter(name, [1, grid.count, width], .normal(deviation: 0.02)))
    } else {
      let table = sinesAndCosines(rows: grid.rows, columns: grid.columns, width: width)
      self = .fixed(Tensor(table, shape: [grid.count, width], on: backend))
    }
  }

  func variable(_ shape: [Int], on tape: Tape?) -> Variable {
    switch self {
    case .fixed(let table): Variable(table.reshaped(shape), on: tape)
    case .learned(let parameter): parameter.variable(on: tape).reshaped(shape)
    }
  }
}

/// The positions of facebookresearch/mae (`pos_embed.py`), row-major `[rows · columns, width]`: for the column and then
/// for the row, sines and then cosines of width / 4 frequencies from 1 down to about 1 / 10 000.
func sinesAndCosines(rows: Int, columns: Int, width: Int) -> [Float] {
  let quarter = width / 4
  func waves(_ place: Int) -> [Float] {
    let angles = (0..<quarter).map { Double(place) * pow(10_000, -Double($0) / Double(quarter)) }
    return angles.map { Float(sin($0)) } + angles.map { Float(cos($0)) }
  }
  return (0..<rows).flatMap { row in (0..<columns).flatMap { waves($0) + waves(row) } }
}

/// Makes tokens of the visible patches.
private struct Encoder {
  private let embedding: Linear
  private let positions: Positions
  private let blocks: [TransformerBlock]
  private let norm: LayerNorm
  private let width: Int

  init(_ settings: MaskedAutoencoderSettings, _ grid: Grid, on backend: any Backend, _ scope: Scope) {
    width = settings.width
    embedding = Linear(
      grid.pixels, width, initializer: .xavierUniform, scope["patch_embed"]["proj"])
    positions = Positions(
      grid, width: width, learned: settings.learnedPositions, "pos_embed", on: backend, scope)
    blocks = (0..<settings.depth).map { index in
      TransformerBlock(
        width: settings.width, heads: settings.heads, mlpRatio: settings.mlpRatio,
        dropPath: settings.dropPath * Float(index) / Float(max(1, settings.depth - 1)), rezero: settings.rezero,
        scope["blocks"][index])
    }
    norm = LayerNorm(width, epsilon: 1e-6, scope["norm"])
  }

  /// Patches, float32 `[N, T, P]`, to `[N, K, width]`.
  func callAsFunction(
    _ patches: Tensor, _ mask: PatchMask, type: ScalarType, on tape: Tape?, dropping: RandomDraw?
  ) -> Variable {
    let seen = patches.backend.gatherTokens(patches, mask.visible, filler: nil).cast(to: type)
    let table = positions.variable([patches.shape[1], width], on: tape)
    let places = EaselGradients.embedding(table, mask.visible.reshaped([-1]), type: type)
    var tokens = embedding(Variable(seen, on: tape), residual: places.reshaped([seen.shape[0], seen.shape[1], width]))
    for (index, block) in blocks.enumerated() {
      let draw = dropping.map { first in
        var draw = first
        draw.draw += UInt32(index) * TransformerBlock.drawCount
        return draw
      }
      tokens = block(tokens, dropping: draw)
    }
    return norm(tokens)
  }
}

/// Predicts the pixels of all patches from the tokens of some.
private struct Decoder {
  private let embedding: Linear
  private let maskToken: Parameter
  private let positions: Positions
  private let blocks: [TransformerBlock]
  private let norm: LayerNorm
  private let prediction: Linear
  private let width: Int

  init(_ settings: MaskedAutoencoderSettings, _ grid: Grid, on backend: any Backend, _ scope: Scope) {
    width = settings.decoderWidth
    embedding = Linear(
      settings.width, width, initializer: .xavierUniform, scope["decoder_embed"])
    maskToken = scope.parameter("mask_token", [1, 1, width], .normal(deviation: 0.02))
    positions = Positions(
      grid, width: width, learned: settings.learnedPositions, "decoder_pos_embed", on: backend, scope)
    blocks = (0..<settings.decoderDepth).map { index in
      TransformerBlock(
        width: settings.decoderWidth, heads: settings.decoderHeads, mlpRatio: settings.mlpRatio,
        rezero: settings.rezero, scope["decoder_blocks"][index])
    }
    norm = LayerNorm(width, epsilon: 1e-6, scope["decoder_norm"])
    prediction = Linear(width, grid.pixels, initializer: .xavierUniform, scope["decoder_pred"])
  }

  /// `[N, K, the encoder's width]` to `[N, T, P]`.
  func callAsFunction(_ seen: Variable, _ mask: PatchMask) -> Variable {
    let all = gatherTokens(embedding(seen), mask.places, filler: maskToken.variable(on: seen.tape))
    // One row per sample, since positions are the same for all.
    let rows = addRow(
      all.reshaped([all.shape[0], -1]), positions.variable([all.shape[1] * width], on: seen.tape))
    var tokens = rows.reshaped(all.shape.sizes)
    for block in blocks { tokens = block(tokens) }
    return prediction(norm(tokens))
  }
}
