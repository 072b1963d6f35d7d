import EaselModels
import EaselTensors
import EaselTestSupport
import Foundation
import Testing

@Suite struct ConditioningTests {
  @Test("A class has its row of the table, and nothing has zeros, under the name in checkpoints")
  func classes() throws {
    try onTensors { backend in
      let scope = Scope()
      let conditioner = ClassConditioner(count: 3, width: 4, scope["class_embedding"])
      let arena = scope.makeArena(on: backend, seed: 1)
      #expect(arena.parameters.map(\.name) == ["class_embedding.weight"])
      let rows = arena.parameters[0].value.values()
      let conditioning = conditioner([.label(2), .nothing, .label(0)], type: .float32, on: nil)
      #expect(conditioning.tokens == nil)
      #expect(
        conditioning.embedded?.value.values() == Array(rows[8..<12]) + [Float](repeating: 0, count: 4) + rows[0..<4])
    }
  }

  @Test("In a batch with classes, the condition nothing gives the same image as no guidance")
  func nothing() throws {
    try onTensors { backend in
      let model = try perturbedDiffusion(
        tinyDiffusion { ($0.conditional, $0.clip) = (true, false) }, .tinyLabelled, on: backend)
      func pictures(_ conditions: [Condition], _ guidance: Float) throws -> [Float] {
        try model.sample(0..<4, SamplingOptions(seed: 2, conditions: conditions, guidance: guidance)) { _ in }.values()
      }
      let (mixed, without) = (try pictures([.label(1), .nothing], 1), try pictures([.label(1)], 0))
      let size = mixed.count / 4
      #expect([1, 3].allSatisfy { mixed[size * $0..<size * ($0 + 1)] == without[size * $0..<size * ($0 + 1)] })
      #expect(mixed[..<size] != without[..<size])
    }
  }

  @Test("A model of classes refuses texts and vectors, and each recipe records its conditions")
  func refused() throws {
    try onTensors { backend in
      let model = try perturbedDiffusion(tinyDiffusion { $0.conditional = true }, .tinyLabelled, on: backend)
      expectUserError(.usage, "prompt: this model was trained with classes, not with texts", "label") {
        try model.validate(SamplingOptions(conditions: [.label(0), .text("a boot")]))
      }
      expectUserError(.usage, "expected one, found a vector") {
        try model.validate(SamplingOptions(conditions: [.embedding([1, 2])]))
      }
      let data = DataDescription.tinyLabelled
      #expect(
        data.description(of: [.label(1), .label(0)]).map(\.value) == [
          "\(data.classNames[1]),\(data.classNames[0])", "1,0",
        ])
      #expect(
        data.description(of: [.text("a \"red\" boot")]).map { "\($0.key): \($0.value)" } == [
          #"Prompt: "a \"red\" boot""#
        ])
    }
  }

  @Test("Conditions are written and read again")
  func codable() throws {
    let conditions: [Condition] = [.nothing, .label(3), .text("größer"), .embedding([0.5, -1])]
    #expect(try JSONDecoder().decode([Condition].self, from: JSONEncoder().encode(conditions)) == conditions)
  }
}
