/// One line of a table of fields: a property's key, the values that it takes, and what it means.
public struct Field<Root>: Sendable {
  /// The name in files, on the command line and in JSON: `batch-size`.
  public let key: String
  /// What it means, in a few words, as they would be written behind the key.
  public private(set) var explanation: String
  public let type: FieldType
  /// The bounds of its numbers; nil for none.
  public let bounds: FieldBounds?
  /// Whether the value must stay the same once something was begun with it.
  public private(set) var isFixed = false
  // Key paths of literals and of sendable parts are sendable, but the type does not say so once two are joined.
  nonisolated(unsafe) let path: PartialKeyPath<Root>
  private(set) var need: Need?
  let encode: @Sendable (Root, inout KeyedEncodingContainer<FieldKey>) throws -> Void
  let decode: @Sendable (inout Root, KeyedDecodingContainer<FieldKey>) throws -> Void
  let check: @Sendable (Root, inout FieldCheck) -> Void
  private let content: @Sendable (Root) -> FieldContent
  private let copy: @Sendable (Root, inout Root) -> Void

  /// The condition under which a field has an effect.
  struct Need: Sendable {
    let text: String
    let isMet: @Sendable (Root) -> Bool
  }

  /// - Parameters:
  ///   - key: kebab-case.
  ///   - path: the property.
  ///   - bounds: the bounds of its number, or of each of its numbers.
  ///   - explanation: what it means, without what the type and the bounds already say.
  public init<Value: FieldValue>(
    _ key: String, _ path: WritableKeyPath<Root, Value> & Sendable, _ bounds: FieldBounds?, _ explanation: String
  ) {
    (self.key, self.explanation, self.bounds, self.path) = (key, explanation, bounds, path)
    type = Value.fieldType
    let codingKey = FieldKey(key)
    encode = { root, container in
      try root[keyPath: path].encodeField(into: &container, codingKey)
    }
    decode = { root, container in
      if container.contains(codingKey) { root[keyPath: path] = try container.decode(Value.self, forKey: codingKey) }
    }
    check = { root, check in
      guard let bounds else { return }
      for number in root[keyPath: path].numbers { check(number, key, bounds) }
    }
    content = { $0[keyPath: path].content }
    copy = { $1[keyPath: path] = $0[keyPath: path] }
  }

  /// A field without bounds.
  public init<Value: FieldValue>(
    _ key: String, _ path: WritableKeyPath<Root, Value> & Sendable, _ explanation: String
  ) {
    self.init(key, path, nil, explanation)
  }

  private init<Inner>(_ inner: Field<Inner>, at path: WritableKeyPath<Root, Inner> & Sendable) {
    (key, explanation, type, bounds) = (inner.key, inner.explanation, inner.type, inner.bounds)
    guard let whole = (path as PartialKeyPath<Root>).appending(path: inner.path) else {
      fatalError("\(inner.path) does not follow \(path)")
    }
    self.path = whole
    isFixed = inner.isFixed
    need = inner.need.map { need in Need(text: need.text) { need.isMet($0[keyPath: path]) } }
    encode = { try inner.encode($0[keyPath: path], &$1) }
    decode = { try inner.decode(&$0[keyPath: path], $1) }
    check = { inner.check($0[keyPath: path], &$1) }
    content = { inner.content($0[keyPath: path]) }
    copy = { inner.copy($0[keyPath: path], &$1[keyPath: path]) }
  }

  /// The field as one of a struct that contains this field's struct.
  public func at<Outer>(_ path: WritableKeyPath<Outer, Root> & Sendable) -> Field<Outer> {
    Field<Outer>(self, at: path)
  }

  /// The field with a condition on the other values, without which it has no effect.
  ///
  /// - Parameters:
  ///   - need: the condition as one would set it, such as `optimizer=sgd`.
  ///   - isMet: returns whether a struct's values meet the condition.
  public func needing(_ need: String, _ isMet: @escaping @Sendable (Root) -> Bool) -> Field {
    var field = self
    field.need = Need(text: need, isMet: isMet)
    return field
  }

  /// The field with a value that must stay the same from the beginning.
  public var fixed: Field {
    var field = self
    field.isFixed = true
    return field
  }

  /// The field with another explanation.
  public func explained(_ explanation: String) -> Field {
    var field = self
    field.explanation = explanation
    return field
  }

  /// The property's value in the form that files have.
  public func content(of root: Root) -> FieldContent { content(root) }

  /// Copies the property's value from another struct.
  public func copy(from other: Root, to root: inout Root) { copy(other, &root) }

  func schema(_ root: Root) -> FieldSchema {
    FieldSchema(
      key: key, type: type, bounds: bounds, explanation: explanation, need: need?.text, isFixed: isFixed,
      value: content(root))
  }
}
