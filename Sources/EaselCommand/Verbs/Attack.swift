import ArgumentParser
import EaselKit

struct Attack: PictureVerb {
  static let configuration = CommandConfiguration(
    abstract: AttackRequest.summary,
    discussion: """
      The sheet has the images, the changes (grey is none, black and white are epsilon), and the changed images, with \
      what the classifier takes them for and how sure it is. Takes a checkpoint of the family classifier.
      """)

  @OptionGroup var picture: PictureOptions
  @OptionGroup var input: ImageOptions
  @Option(parsing: .unconditional, help: .field(\AttackRequest.count)) var count: Int?
  @Option(help: .field(\AttackRequest.method)) var method = AdversarialAttack.Method.pgd
  @Option(parsing: .unconditional, help: .field(\AttackRequest.epsilon)) var epsilon = 8.0
  @Option(parsing: .unconditional, help: .field(\AttackRequest.steps)) var steps = 20
  @Option(help: .field(\AttackRequest.target)) var target: String?
  @Flag(help: .field(\AttackRequest.curve)) var curve = false
  @Option(parsing: .unconditional, help: .field(\AttackRequest.seed)) var seed: UInt64 = 0

  func ask(_ request: inout AttackRequest) {
    (request.input, request.method, request.epsilon, request.steps) = (input.choice, method, epsilon, steps)
    (request.target, request.curve, request.seed) = (target, curve, seed)
    request.count = count ?? (curve ? 1000 : request.count)
  }

  func finish(_ answer: PictureAnswer) {
    guard answer.names.isEmpty else {
      for name in answer.names { Console.note(name) }
      let share = (100 * answer.figures["misled", default: 0]).formatted(1)
      return Console.note("misled in \(share) % of \(answer.count) images")
    }
    let epsilons = answer.figures.keys.compactMap { Double($0.split(separator: " ").last ?? "") }
    let rows = Set(epsilons).sorted().map { epsilon in
      [epsilon.formatted(2)]
        + ["network", "linear"].map { name in
          "\((100 * answer.figures["\(name) at \(epsilon.formatted(2))", default: 0]).formatted(1)) %"
        }
    }
    Console.note(text: Console.table(["epsilon", "accuracy", "of the linear one"], rows, rightAlignedFrom: 0))
    Console.note("\(answer.count) held-out images")
  }
}

extension AdversarialAttack.Method: ExpressibleByArgument {}
