import EaselSupport
@_exported import EaselTraining

/// Who is told of what a request does while it does it, and may end it.
public struct Observer {
  /// Told a sentence for people.
  public var remark: (String) -> Void
  /// Told what is being done and which share of it is done, 0 to 1. What it throws ends the work.
  public var progress: (_ what: String, _ share: Double) throws -> Void
  /// Told what begins that may take long and has no shares, and with nil that it is over.
  public var waiting: (String?) -> Void
  /// Asked before every operation, by any thread: whether nobody wants the work any more. It takes a moment at most.
  public var isCancelled: @Sendable () -> Bool

  public init(
    remark: @escaping (String) -> Void = { _ in },
    progress: @escaping (_ what: String, _ share: Double) throws -> Void = { _, _ in },
    waiting: @escaping (String?) -> Void = { _ in }, isCancelled: @escaping @Sendable () -> Bool = { false }
  ) {
    (self.remark, self.progress, self.waiting, self.isCancelled) = (remark, progress, waiting, isCancelled)
  }
}

/// Thrown where ``Observer/isCancelled`` has ended the work: nothing of it remains.
public struct Cancelled: Error, Equatable {
  public init() {}
}

/// A request on its way: where it looks for things, and who is told.
public final class Work {
  public let workspace: Workspace
  let observer: Observer
  /// What was remarked, in order.
  public private(set) var remarks: [String] = []

  init(_ workspace: Workspace, _ observer: Observer) { (self.workspace, self.observer) = (workspace, observer) }

  func remark(_ sentence: String) {
    remarks.append(sentence)
    observer.remark(sentence)
  }

  /// Lists what was left out of some pictures.
  func list(skipped: [UserError], of name: String) {
    let most = 20
    for broken in skipped.prefix(most) { remark("left out: \(broken.message)") }
    if skipped.count > most { remark("… and \(skipped.count - most) more") }
    if !skipped.isEmpty { remark("Left out of \(name): \(skipped.count) that cannot be read.") }
  }

  /// Says that pictures lost a part when they were brought to their size.
  func noteCropped(_ count: Int, of total: Int, _ source: String, to size: ImageSize) {
    if count == 0 { return }
    remark(
      "\(count) of \(total) pictures of \(source) have other proportions than \(size): cropped to their middle; "
        + "\(field: "fit") pad or stretch keeps all of them.")
  }

  func noteCropped(_ splits: DatasetSplits, _ name: String) {
    noteCropped(splits.cropped, of: splits.train.count + splits.validation.count, name, to: splits.train.imageSize)
  }

  /// What tells the observer how far some work is.
  func progress(_ what: String) -> (Double) throws -> Void {
    { share in
      if self.observer.isCancelled() { throw Cancelled() }
      try self.observer.progress(what, share)
    }
  }

  func wait<Result>(_ what: String, _ work: () throws -> Result) throws -> Result {
    if observer.isCancelled() { throw Cancelled() }
    observer.waiting(what)
    defer { observer.waiting(nil) }
    return try work()
  }

  /// Computes something, which is given up in the midst of a pass where nobody wants it any more.
  ///
  /// - Throws: ``Cancelled``, and what the work throws.
  func computing<Result>(with model: any Model, _ work: () throws -> Result) throws -> Result {
    guard let result = try model.unlessUnwanted(observer.isCancelled, work) else { throw Cancelled() }
    return result
  }

  /// The same without a model.
  func computing<Result>(on backend: any Backend, _ work: () throws -> Result) throws -> Result {
    guard let result = try backend.threads.abandonable(when: observer.isCancelled, work) else { throw Cancelled() }
    return result
  }
}
