import CEaselKernels
import Foundation

/// The instruction sets that kernels are compiled for.
public enum InstructionSet: String, Sendable, CaseIterable {
  case baseline, avx2, avx512
  /// AVX-512 with conversions to bfloat16.
  case avx512bf16

  /// The widest set that this processor has, unless `EASEL_ISA` names a narrower one.
  public static var preferred: InstructionSet {
    guard let name = getenv("EASEL_ISA"), let named = InstructionSet(rawValue: String(cString: name)) else {
      return best
    }
    return available.contains(named) ? named : best
  }

  /// What `EASEL_ISA` says, if that is no set, or not one that this processor has; it is ignored then.
  public static var ignoredName: String? {
    guard let name = getenv("EASEL_ISA").map({ String(cString: $0) }), !name.isEmpty else { return nil }
    return InstructionSet(rawValue: name).map(available.contains) == true ? nil : name
  }

  /// The widest set that this processor has.
  public static var best: InstructionSet {
    switch easel_best_isa() {
    case EASEL_AVX512_BF16: .avx512bf16
    case EASEL_AVX512: .avx512
    case EASEL_AVX2: .avx2
    default: .baseline
    }
  }

  /// The sets that this processor has, narrowest first.
  public static var available: [InstructionSet] {
    allCases.filter { $0.rawISA.rawValue <= best.rawISA.rawValue }
  }

  var rawISA: easel_isa {
    switch self {
    case .baseline: EASEL_BASELINE
    case .avx2: EASEL_AVX2
    case .avx512: EASEL_AVX512
    case .avx512bf16: EASEL_AVX512_BF16
    }
  }
}
