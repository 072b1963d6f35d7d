import EaselSupport

/// How a processor multiplies bfloat16 numbers, compared with float32.
///
/// The answer follows from the processor's family and instructions alone. A timing would give other answers from run to
/// run.
public enum BFloat16Products: String, Sendable, CaseIterable {
  /// The backend has no kernels for them.
  case none
  /// AVX-512 without bfloat16: numbers are converted to float32 for each product.
  case emulated
  /// AVX512_BF16 at half the rate of float32. On Intel's processors without AMX, or with AMX hidden from a virtual
  /// machine, one port issues a `vdpbf16ps`, which counts for two multiply-adds, every two cycles, while two ports
  /// issue multiply-adds every cycle.
  case slow
  /// AVX512_BF16 at twice the rate of float32: AMD's processors since Zen 4.
  case fast
  /// AMX.
  case matrices

  package init(isSupported: Bool, hasInstructions: Bool, hasMatrices: Bool, isAMD: Bool) {
    self =
      hasMatrices ? .matrices : hasInstructions ? (isAMD ? .fast : .slow) : isSupported ? .emulated : .none
  }

  /// What the processor does, for people.
  public var summary: String {
    switch self {
    case .none: "no bfloat16 products here"
    case .emulated: "this processor multiplies bfloat16 by way of float32"
    case .slow: "this processor multiplies bfloat16 at half float32's rate"
    case .fast: "this processor multiplies bfloat16 at twice float32's rate"
    case .matrices: "this processor multiplies bfloat16 matrices (AMX)"
    }
  }
}

/// The type of activations that a run asks for.
public enum Precision: String, FieldChoice {
  /// The faster type on this processor; see ``choice(on:convolves3x3:)``.
  case auto
  case float32
  case bfloat16

  /// What `auto` means on a backend, and the reason in words. It is never slower than float32.
  ///
  /// - Parameters:
  ///   - backend: the backend that computes.
  ///   - convolves3x3: whether nearly all multiplications are in 3×3 convolutions. Winograd's method does these in
  ///     float32 whatever the type in memory, so bfloat16 saves memory traffic at no cost, as long as the processor has
  ///     instructions that convert it.
  public static func choice(on backend: any Backend, convolves3x3: Bool) -> (type: ScalarType, reason: String) {
    guard backend.kind == .onednn else { return (.float32, "the \(backend.kind.rawValue) backend has no other") }
    return choice(Backends.bfloat16, convolves3x3: convolves3x3)
  }

  package static func choice(_ products: BFloat16Products, convolves3x3: Bool) -> (type: ScalarType, reason: String) {
    switch products {
    case .matrices, .fast: return (.bfloat16, products.summary)
    case .slow where convolves3x3:
      return (.bfloat16, "\(products.summary), but most of this model's products are in float32 by Winograd's method")
    case .none, .emulated, .slow: return (.float32, products.summary)
    }
  }

  /// The type of activations on a backend.
  ///
  /// - Parameters:
  ///   - backend: the backend that computes.
  ///   - convolves3x3: see ``choice(on:convolves3x3:)``.
  /// - Throws: `UserError` (unavailable) if bfloat16 is asked for and the backend or the processor does not support it.
  public func scalarType(on backend: any Backend, convolves3x3: Bool = false) throws -> ScalarType {
    switch self {
    case .float32: return .float32
    case .auto: return Precision.choice(on: backend, convolves3x3: convolves3x3).type
    case .bfloat16:
      guard backend.kind == .onednn else {
        throw UserError(
          .unavailable, "the \(backend.kind.rawValue) backend computes in float32 only",
          hint: "Use \(field: "precision") float32, or \(field: "backend") onednn.")
      }
      guard Backends.bfloat16 != .none else {
        throw UserError(
          .unavailable, "oneDNN has no bfloat16 kernels for this processor (it needs AVX-512)",
          hint: "Use \(field: "precision") float32.")
      }
      return .bfloat16
    }
  }
}
