import EaselLayers

/// A codebook: each vector is replaced by the nearest of a number of learned ones (van den Oord et al. 2017).
///
/// Parameters: `embedding.weight` `[codes, width]`, as in diffusers' `VectorQuantizer`.
public struct VectorQuantizer {
  private let table: Parameter

  init(codes: Int, width: Int, _ scope: Scope) {
    table = scope["embedding"].parameter("weight", [codes, width], .uniform(bound: 1 / Float(codes)))
  }

  /// The numbers of the nearest vectors: float32 `[…, width]` to as many indices. Of equally near ones, the first.
  public func indices(_ latents: Tensor) -> [Int] {
    let backend = latents.backend
    // |z − e|² without |z|², which is the same for all: the largest z·e − |e|²/2.
    let shift = -0.5 * backend.sumSamples(table.value * table.value)
    let scores = backend.linear(latents, weight: table.value, bias: shift, residual: nil)
    return scores.reshaped([-1, table.shape[0]]).argmax()
  }

  /// Quantised latents, and how far they were from it.
  ///
  /// - Parameters:
  ///   - latents: float32 `[…, width]`. Its gradient is that of the result, as if nothing had been quantised.
  ///   - commitment: the weight with which latents are drawn to their vectors; the vectors are drawn to the latents with
  ///     weight 1. Both terms are means of squares.
  /// - Returns: the quantised latents in the same shape, the loss (float32 `[]`), and the vectors' numbers.
  public func callAsFunction(_ latents: Variable, commitment: Float) -> (
    quantized: Variable, loss: Variable, indices: [Int]
  ) {
    let indices = indices(latents.value)
    let found = embedding(
      table.variable(on: latents.tape), Tensor(indices.map { Int32($0) }, on: latents.backend), type: .float32
    ).reshaped(latents.shape.sizes)
    let loss =
      elementwiseLoss(.squaredError, found, latents.value)
      + commitment * elementwiseLoss(.squaredError, latents, found.value)
    return (latents.linearly(found.value) { $0 }, loss, indices)
  }

  /// The nearest vectors of latents: float32 `[…, width]` to the same shape.
  public func quantize(_ latents: Tensor) -> Tensor {
    latents.backend.gather(
      table.value, Tensor(indices(latents).map { Int32($0) }, on: latents.backend), type: .float32
    ).reshaped(latents.shape)
  }
}
