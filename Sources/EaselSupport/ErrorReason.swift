import Foundation

extension Error {
  /// Why something failed, in words for people: a `UserError`'s message, the system's text for a failed call, or what a
  /// decoder expected and where.
  public var reason: String {
    switch self {
    case let error as UserError: return error.message
    case let error as DecodingError: return error.expectation
    default:
      // Foundation hides the system's code below its own codes.
      var error: NSError? = self as NSError
      while let found = error {
        if found.domain == NSPOSIXErrorDomain { return String(cString: strerror(Int32(found.code))) }
        error = found.userInfo[NSUnderlyingErrorKey] as? NSError
      }
      return "for an unknown reason"
    }
  }
}

extension DecodingError {
  /// `data.width: expected a whole number`.
  fileprivate var expectation: String {
    let (path, expected): ([any CodingKey], String) =
      switch self {
      case .typeMismatch(let type, let context), .valueNotFound(let type, let context):
        (context.codingPath, Self.description(of: type))
      case .keyNotFound(let key, let context): (context.codingPath + [key], "a value")
      case .dataCorrupted(let context): (context.codingPath, context.codingPath.isEmpty ? "JSON" : "another value")
      @unknown default: ([], "other text")
      }
    let place = path.reduce("") { place, key in
      key.intValue.map { "\(place)[\($0)]" } ?? (place.isEmpty ? "" : place + ".") + key.stringValue
    }
    return (place.isEmpty ? "" : "\(place): ") + "expected \(expected)"
  }

  private static func description(of type: any Any.Type) -> String {
    switch type {
    case is any BinaryInteger.Type: "a whole number"
    case is any BinaryFloatingPoint.Type: "a number"
    case is Bool.Type: "true or false"
    case is String.Type: "a text"
    case is [Any].Type: "a list"
    case is [String: Any].Type: "an object"
    default: "another value"
    }
  }
}
