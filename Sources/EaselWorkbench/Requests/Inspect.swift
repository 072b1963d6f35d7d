import EaselSupport

/// Shows what a checkpoint holds, or how a picture was made.
public struct InspectRequest: Request {
  public static let name = "inspect"
  public static let summary = "Show what a checkpoint holds, or how a picture was made."

  /// A run, a checkpoint's folder, or a PNG file.
  public var subject = ""

  public init() {}
  public static let fields: [Field<InspectRequest>] = [
    Field("subject", \.subject, "A run, a checkpoint's folder, or a PNG file.")
  ]

  public enum Answer {
    case picture(PNGText)
    case checkpoint(CheckpointFolder, CheckpointSummary)
  }

  public func answer(_ work: Work) throws -> Answer {
    guard subject.lowercased().hasSuffix(".png") else {
      let checkpoint = try work.checkpoint(subject)
      return .checkpoint(checkpoint, try CheckpointSummary(checkpoint))
    }
    let text = try PNGText.read(subject)
    guard !text.entries.isEmpty else {
      throw UserError(
        .unavailable, "\(subject): the picture carries no text", hint: "Easel did not make it, or a program removed it."
      )
    }
    return .picture(text)
  }
}

/// Checks every file of a checkpoint against its hash.
public struct VerifyRequest: Request {
  public static let name = "verify"
  public static let summary = "Check every file of a checkpoint against its hash."

  public var checkpoint = ""

  public init() {}
  public static let fields: [Field<VerifyRequest>] = [
    Field("checkpoint", \.checkpoint, "A run's name, a run's folder or a checkpoint's folder.")
  ]

  public struct Answer {
    /// The checkpoint's folder, or what was asked for if no checkpoint of it is intact.
    public var checkpoint: String
    /// What is wrong; empty if nothing is.
    public var problems: [UserError]
  }

  public func answer(_ work: Work) throws -> Answer {
    do {
      let (newest, damaged) = try work.workspace.checkpoints.resolve(checkpoint)
      return Answer(
        checkpoint: newest.path, problems: damaged.map(\.error) + newest.verify(full: true) + newest.verifyParts())
    } catch let error as UserError where error.kind == .badData {
      return Answer(checkpoint: checkpoint, problems: [error])
    }
  }
}
