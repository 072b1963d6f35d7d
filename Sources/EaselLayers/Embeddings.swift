import Foundation

/// The sinusoidal embedding of timesteps (Vaswani et al. 2017), `[N]` numbers to `[N, width]`, with the conventions of
/// diffusers' `get_timestep_embedding`.
public struct TimestepEmbedding: Sendable {
  /// The length of an embedding.
  public let width: Int
  /// Whether the order is `[cos | sin]` (OpenAI) instead of `[sin | cos]` (Ho et al.).
  public let flipSinToCos: Bool
  /// Subtracted from the number of frequencies in the exponent's divisor: 1 for Ho et al., 0 for OpenAI.
  public let frequencyShift: Float
  /// The longest period, 2π times this, in timesteps.
  public let maximumPeriod = 10_000.0

  /// An embedding with the conventions of OpenAI's code or, with `flipSinToCos` false and a `frequencyShift` of 1, with
  /// those of Ho et al. 2020.
  public init(width: Int, flipSinToCos: Bool = true, frequencyShift: Float = 0) {
    self.width = width
    self.flipSinToCos = flipSinToCos
    self.frequencyShift = frequencyShift
  }

  /// The embeddings of `[N]` timesteps, row-major `[N, width]`. If the width is odd, they end in a zero.
  public func callAsFunction(_ timesteps: [Float]) -> [Float] {
    let half = width / 2
    let frequencies = (0..<half).map { index in
      Float(exp(-log(maximumPeriod) * Double(index) / (Double(half) - Double(frequencyShift))))
    }
    var rows: [Float] = []
    rows.reserveCapacity(timesteps.count * width)
    for timestep in timesteps {
      let sines = frequencies.map { sin(timestep * $0) }
      let cosines = frequencies.map { cos(timestep * $0) }
      rows += flipSinToCos ? cosines + sines : sines + cosines
      if width % 2 == 1 { rows.append(0) }
    }
    return rows
  }
}

/// A learned row for each of several classes: indices `[N]` to `[N, width]`.
///
/// Parameters: `weight` `[count, width]`.
public struct Embedding {
  let weight: Parameter

  /// A table of rows.
  ///
  /// - Parameters:
  ///   - count: the number of classes.
  ///   - width: the length of a row.
  ///   - initializer: the initializer of the table.
  ///   - scope: its position in the tree of names.
  public init(count: Int, width: Int, initializer: Initializer = .normal(deviation: 1), _ scope: Scope) {
    weight = scope.parameter("weight", [count, width], initializer)
  }

  /// The backend whose memory the table is in. Traps if its arena is gone.
  public var backend: any Backend { weight.value.backend }

  /// The rows of some classes.
  ///
  /// - Parameters:
  ///   - indices: int32 `[N]`, below the number of classes; others trap. An index below 0 stands for no class and gives
  ///     zeros.
  ///   - type: the type of the result.
  ///   - tape: the tape that records the computation; nil for none.
  /// - Returns: `[N, width]`.
  public func callAsFunction(_ indices: Tensor, type: ScalarType, on tape: Tape?) -> Variable {
    embedding(weight.variable(on: tape), indices, type: type)
  }
}
