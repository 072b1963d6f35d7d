import EaselOptimizers
import EaselSupport

/// One network of a model with its parameters and, while training, its optimizer: the unit that checkpoints name.
public final class Component {
  /// How training and checkpoints treat a network.
  public enum Role: Sendable {
    /// It is trained and used for pictures.
    case trained
    /// It is trained but not used for pictures, such as a discriminator. It has no average, and checkpoints for
    /// pictures omit it.
    case trainingOnly
    /// It stays as it is in another checkpoint: a network of a ``ModelPart``. It has neither an optimizer nor an
    /// average, and the run stores it once, with the part, not in every checkpoint.
    case frozen
  }

  /// The prefix of the parameters' names in checkpoints; empty for a model's only network.
  public let name: String
  public let arena: Arena
  public private(set) var role: Role
  /// Nil if the model is only used.
  public internal(set) var optimizer: Optimizer?
  /// The number of updates of the moving average so far.
  public var averageUpdates = 0
  /// State besides weights and moments that a resumed training needs, such as a pool of images: float32 tensors with
  /// stable names.
  public var trainingState: [(name: String, tensor: Tensor)] = []

  /// Makes a component from the layers of a scope.
  ///
  /// - Parameters:
  ///   - name: the prefix of the parameters' names in checkpoints; empty for a model's only network.
  ///   - scope: the scope in which its layers have declared their parameters.
  ///   - context: where the model computes, and its seed.
  ///   - seed: the seed of the initial values; nil for the context's.
  ///   - role: how training and checkpoints treat it.
  /// - Throws: `UserError(.unavailable)` if the parameters do not fit into memory.
  public convenience init(
    _ name: String, _ scope: Scope, _ context: ModelContext, seed: UInt64? = nil, role: Role = .trained
  ) throws {
    let parameters = scope.parameterCount
    // What it takes to be used; training takes several times as much.
    try MachineMemory.require(context.type.byteCount * parameters, for: "a model of \(parameters) parameters")
    self.init(name, scope.makeArena(on: context.backend, seed: seed ?? context.seed), role: role)
  }

  public init(_ name: String = "", _ arena: Arena, role: Role = .trained) {
    if role == .frozen { fatalError("the component \(name) is frozen by the model that uses it, not when it is made") }
    self.name = name
    self.arena = arena
    self.role = role
  }

  /// Prevents further changes to the network.
  fileprivate func freeze() {
    role = .frozen
    arena.isFrozen = true
  }
}

extension Model {
  /// The model's networks and those of its parts.
  public var networks: [Component] {
    components + context.parts.sorted { $0.key < $1.key }.flatMap { $0.value.networks }
  }

  /// The number of learned values in the model and its parts.
  public var parameterCount: Int { networks.reduce(0) { $0 + $1.arena.count } }

  /// Freezes the model for use as a part of another.
  package func freeze() { for component in components { component.freeze() } }
}
