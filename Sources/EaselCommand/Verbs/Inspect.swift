import ArgumentParser
import EaselKit

struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: InspectRequest.summary)

  @Argument(help: .field(\InspectRequest.subject)) var subject: String
  @OptionGroup var common: CommonOptions

  func run() throws {
    let desk = try Desk(common)
    try desk.bench.run(InspectRequest { $0.subject = subject }).print(desk)
  }
}

struct Verify: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: VerifyRequest.summary)

  @Argument(help: .field(\VerifyRequest.checkpoint)) var checkpoint: String
  @OptionGroup var common: CommonOptions

  private struct Report: Encodable {
    var checkpoint: String
    var valid: Bool
    var problems: [String]
  }

  func run() throws {
    let desk = try Desk(common)
    let answer = try desk.bench.run(VerifyRequest { $0.checkpoint = checkpoint })
    if desk.json {
      try Console.print(
        json: Report(
          checkpoint: answer.checkpoint, valid: answer.problems.isEmpty, problems: answer.problems.map(\.message)))
    }
    if let first = answer.problems.first {
      for problem in answer.problems.dropFirst() { Console.error(UserError(problem.kind, problem.message)) }
      throw first
    }
    if !desk.json { Console.print("\(answer.checkpoint): valid") }
  }
}
