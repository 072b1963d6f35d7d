import EaselSupport
import EaselTensors
import Testing

/// Expects a ``UserError`` of a kind whose text (hint included) contains all the parts.
package func expectUserError(
  _ kind: UserError.Kind, _ parts: String..., sourceLocation: SourceLocation = #_sourceLocation,
  performing body: () throws -> some Any
) {
  expectUserError(kind, parts, sourceLocation: sourceLocation, performing: body)
}

package func expectUserError(
  _ kind: UserError.Kind, _ parts: [String], sourceLocation: SourceLocation = #_sourceLocation,
  performing body: () throws -> some Any
) {
  let error = #expect(throws: UserError.self, sourceLocation: sourceLocation) { _ = try body() }
  guard let error else { return }
  #expect(error.kind == kind, "\(error)", sourceLocation: sourceLocation)
  for part in parts {
    #expect(error.description.contains(part), "\(error) lacks \(part)", sourceLocation: sourceLocation)
  }
}
