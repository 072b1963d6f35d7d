import Foundation

/// One operating-system thread for all tensor work: a backend serves one thread at a time.
public enum TensorThread {
  /// Runs work on the tensor thread and waits for it. If it is called on that thread, it just runs the work.
  ///
  /// - Parameter work: the work to do there.
  /// - Returns: what the work returns.
  /// - Throws: what the work throws.
  public static func run<Result>(_ work: @escaping @Sendable () throws -> Result) throws -> Result {
    if worker.isCurrent { return try work() }
    let job = Job(work)
    worker.perform { job.run() }
    return try job.outcome.get()
  }

  private static let worker = Worker()

  /// Carries work to the thread and its outcome back. The caller waits meanwhile, so only one of them touches it.
  private final class Job<Value>: @unchecked Sendable {
    private let work: () throws -> Value
    private var finished: Result<Value, any Error>?

    init(_ work: @escaping () throws -> Value) { self.work = work }

    func run() { finished = Result { try work() } }

    var outcome: Result<Value, any Error> {
      guard let finished else { fatalError("the tensor thread returned without an outcome") }
      return finished
    }
  }

  private final class Worker: @unchecked Sendable {
    private let condition = NSCondition()
    private var queue: [@Sendable () -> Void] = []
    private var thread: Thread?

    init() {
      let thread = Thread { [unowned self] in
        while true { self.next()() }
      }
      thread.name = "tensors"
      thread.stackSize = 16 << 20
      self.thread = thread
      thread.start()
    }

    var isCurrent: Bool { Thread.current === thread }

    private func next() -> @Sendable () -> Void {
      condition.lock()
      defer { condition.unlock() }
      while queue.isEmpty { condition.wait() }
      return queue.removeFirst()
    }

    func perform(_ work: @escaping @Sendable () -> Void) {
      let done = DispatchSemaphore(value: 0)
      condition.lock()
      queue.append {
        work()
        done.signal()
      }
      condition.signal()
      condition.unlock()
      done.wait()
    }
  }
}
