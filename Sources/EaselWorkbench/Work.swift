import EaselSupport
@_exported import EaselTraining

/// Receives remarks and progress while a request is answered, and may end it.
public struct Observer {
  /// Receives a sentence for people.
  public var remark: (String) -> Void
  /// Receives what is being done and the share of it that is done, 0 to 1. If it throws, the work ends.
  public var progress: (_ what: String, _ fraction: Double) throws -> Void
  /// Receives the name of work that begins, may take long and reports no shares; receives nil when it is over.
  public var waiting: (String?) -> Void
  /// Asked by any thread before every operation whether the work is no longer wanted. It must return quickly.
  public var isCancelled: @Sendable () -> Bool

  public init(
    remark: @escaping (String) -> Void = { _ in },
    progress: @escaping (_ what: String, _ fraction: Double) throws -> Void = { _, _ in },
    waiting: @escaping (String?) -> Void = { _ in }, isCancelled: @escaping @Sendable () -> Bool = { false }
  ) {
    (self.remark, self.progress, self.waiting, self.isCancelled) = (remark, progress, waiting, isCancelled)
  }
}

/// Thrown if ``Observer/isCancelled`` has ended the work: nothing of it remains.
public struct Cancelled: Error, Equatable {
  public init() {}
}

/// A request while it is answered: where it finds things, and who observes it.
public final class Work {
  public let workspace: Workspace
  let observer: Observer
  /// All remarks, in order.
  public private(set) var remarks: [String] = []

  init(_ workspace: Workspace, _ observer: Observer) { (self.workspace, self.observer) = (workspace, observer) }

  func remark(_ sentence: String) {
    remarks.append(sentence)
    observer.remark(sentence)
  }

  /// Remarks on pictures that were left out.
  func list(skipped: [UserError], of name: String) {
    let most = 20
    for broken in skipped.prefix(most) { remark("left out: \(broken.message)") }
    if skipped.count > most { remark("… and \(skipped.count - most) more") }
    if !skipped.isEmpty { remark("Left out of \(name): \(skipped.count) that cannot be read.") }
  }

  /// Remarks that pictures lost a part when they were brought to their size.
  func noteCropped(_ count: Int, of total: Int, _ source: String, to size: ImageSize) {
    if count == 0 { return }
    remark(
      "\(count) of \(total) pictures of \(source) have other proportions than \(size): cropped to their middle; "
        + "\(field: "fit") pad or stretch keeps all of them.")
  }

  func noteCropped(_ splits: DatasetSplits, _ name: String) {
    noteCropped(splits.cropped, of: splits.train.count + splits.validation.count, name, to: splits.train.imageSize)
  }

  /// A function that reports some work's progress to the observer.
  func progress(_ what: String) -> (Double) throws -> Void {
    { fraction in
      if self.observer.isCancelled() { throw Cancelled() }
      try self.observer.progress(what, fraction)
    }
  }

  func wait<Result>(_ what: String, _ work: () throws -> Result) throws -> Result {
    if observer.isCancelled() { throw Cancelled() }
    observer.waiting(what)
    defer { observer.waiting(nil) }
    return try work()
  }

  /// Computes something. If the work is no longer wanted, gives up in the middle of a pass.
  ///
  /// - Throws: ``Cancelled``, and what the work throws.
  func computing<Result>(with model: any Model, _ work: () throws -> Result) throws -> Result {
    guard let result = try model.unlessUnwanted(observer.isCancelled, work) else { throw Cancelled() }
    return result
  }

  /// Does the same without a model.
  func computing<Result>(on backend: any Backend, _ work: () throws -> Result) throws -> Result {
    guard let result = try backend.threads.abandonable(when: observer.isCancelled, work) else { throw Cancelled() }
    return result
  }
}
