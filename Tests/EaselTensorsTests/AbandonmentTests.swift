import EaselTensors
import EaselTestSupport
import Synchronization
import Testing

/// Work that may be abandoned in the middle.
@Suite struct AbandonmentTests {
  private final class Flag: Sendable {
    let isSet = Atomic<Bool>(false)
  }

  @Test(
    "Operations return at once if the work is abandoned, but random numbers are still drawn",
    arguments: Backends.available)
  func givesUp(_ kind: BackendKind) throws {
    let found = try onTensors(kind) { backend -> (result: Bool?, values: [[Float]]) in
      let flag = Flag()
      let target = Tensor(repeating: 1, shape: [4], on: backend)
      let numbers = Tensor(repeating: -1, shape: [4], on: backend)
      let matrix = Tensor(repeating: 1, shape: [4, 4], on: backend)
      let result: Bool? = backend.threads.abandonable(when: { flag.isSet.load(ordering: .relaxed) }) {
        backend.fill(target, with: 2)
        flag.isSet.store(true, ordering: .relaxed)
        backend.fill(target, with: 3)
        backend.linearWeightGradient(target.reshaped([1, 4]), target.reshaped([1, 4]), into: matrix)
        backend.fillUniform(numbers, RandomDraw(seed: 1, stream: .noise))
        return backend.threads.carryThrough()
      }
      let values = [target.values(), matrix.values(), numbers.values()]
      // Later work is not affected.
      backend.fill(target, with: 4)
      return (result, values + [target.values()])
    }
    #expect(found.result == nil)
    #expect(found.values[0] == [2, 2, 2, 2] && found.values[1].allSatisfy { $0 == 1 })
    #expect(found.values[2].allSatisfy { (0..<1).contains($0) })
    #expect(found.values[3] == [4, 4, 4, 4])
  }

  @Test("Work that is finished, before or after the request to stop, is complete")
  func carriesThrough() throws {
    let (result, late, values) = try onTensors { backend -> (Bool?, Int?, [[Float]]) in
      let flag = Flag()
      let target = Tensor(repeating: 1, shape: [4], on: backend)
      let result: Bool? = backend.threads.abandonable(when: { flag.isSet.load(ordering: .relaxed) }) {
        let isCarriedThrough = backend.threads.carryThrough()
        flag.isSet.store(true, ordering: .relaxed)
        backend.fill(target, with: 2)
        return isCarriedThrough
      }
      let first = target.values()
      flag.isSet.store(false, ordering: .relaxed)
      let late: Int? = backend.threads.abandonable(when: { flag.isSet.load(ordering: .relaxed) }) {
        backend.fill(target, with: 3)
        flag.isSet.store(true, ordering: .relaxed)
        return 1
      }
      return (result, late, [first, target.values()])
    }
    #expect(result == true && late == 1)
    #expect(values == [[2, 2, 2, 2], [3, 3, 3, 3]])
  }

  private struct Failure: Error {}

  @Test("An error in abandoned work is ignored")
  func errors() throws {
    let given = try onTensors { backend -> Int? in
      try backend.threads.abandonable(when: { true }) {
        backend.fill(Tensor(uninitialized: [4], on: backend), with: 1)
        throw Failure()
      }
    }
    #expect(given == nil)
    #expect(throws: Failure.self) {
      try onTensors { backend -> Int? in try backend.threads.abandonable(when: { false }) { throw Failure() } }
    }
  }
}
