import ArgumentParser
import EaselKit

extension DataVerb {
  struct Make: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: DataMakeRequest.summary,
      discussion: """
        shapes: circles, squares, triangles and crosses in six colours and two sizes on plain grounds, such as "a small \
        red circle above a large blue square". Combinations of form, colour and place are held out whole. A checker \
        reads held-out pictures back; the command prints how many it reads as their captions say.
        """)
    @Argument(help: .field(\DataMakeRequest.dataset)) var name: String
    @Option(parsing: .unconditional, help: .field(\DataMakeRequest.size)) var size = 32
    @Option(parsing: .unconditional, help: .field(\DataMakeRequest.count)) var count = 20_000
    @Option(parsing: .unconditional, help: .field(\DataMakeRequest.seed)) var seed: UInt64 = 0
    @Option(help: .field(\DataMakeRequest.output)) var output: String?
    @OptionGroup var common: CommonOptions

    func run() throws {
      let desk = try Desk(common)
      let answer = try desk.bench.run(
        DataMakeRequest {
          ($0.dataset, $0.size, $0.count, $0.seed, $0.output) = (name, size, count, seed, output)
        })
      if desk.json { return try Console.print(json: answer) }
      Console.note(
        "\(answer.training) pictures for training, \(answer.validation) held out; the checker reads \(answer.readable) of "
          + "these as their captions say")
      Console.print(path: answer.output)
    }
  }
}
