import EaselOptimizers
import EaselSupport

/// One network of a model with its parameters, and while training its optimizer: the unit that checkpoints name.
public final class Component {
  /// What becomes of a network in training and in checkpoints.
  public enum Role: Sendable {
    /// It is trained, and pictures are made with it.
    case trained
    /// It is trained, but pictures are made without it, as without a discriminator: it has no average, and a checkpoint for
    /// pictures does without it.
    case trainingOnly
    /// It stays as another checkpoint has it: a network of a ``ModelPart``. It has neither an optimizer nor an average, and the
    /// run has it once, with the part, and not in every checkpoint.
    case frozen
  }

  /// The prefix of the parameters' names in checkpoints; empty for a model's only network.
  public let name: String
  public let arena: Arena
  public private(set) var role: Role
  /// Nil where the model is only used.
  public internal(set) var optimizer: Optimizer?
  /// Updates of the moving average so far.
  public var averageUpdates = 0
  /// What training goes on from besides weights and moments, float32, by names that stay the same: a pool of images, say.
  public var trainingState: [(name: String, tensor: Tensor)] = []

  /// A network whose layers a scope has.
  ///
  /// - Parameters:
  ///   - name: the prefix of the parameters' names in checkpoints; empty for a model's only network.
  ///   - scope: where its layers have declared their parameters.
  ///   - context: where the model computes, and its seed.
  ///   - seed: of the first values; nil for the context's.
  ///   - role: what becomes of it in training and in checkpoints.
  /// - Throws: `UserError(.unavailable)` where the parameters do not fit into memory.
  public convenience init(
    _ name: String, _ scope: Scope, _ context: ModelContext, seed: UInt64? = nil, role: Role = .trained
  ) throws {
    let parameters = scope.parameterCount
    try MachineMemory.require(4 * parameters, for: "a model of \(parameters) parameters")
    self.init(name, scope.makeArena(on: context.backend, seed: seed ?? context.seed), role: role)
  }

  public init(_ name: String = "", _ arena: Arena, role: Role = .trained) {
    self.name = name
    self.arena = arena
    self.role = role
  }

  /// Leaves the network as it is from here on.
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

  /// Learned numbers of the model and its parts.
  public var parameterCount: Int { networks.reduce(0) { $0 + $1.arena.count } }

  /// Makes the model one that others use as it is.
  package func freeze() { for component in components { component.freeze() } }
}
