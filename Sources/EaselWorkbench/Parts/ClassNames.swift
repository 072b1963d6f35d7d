import EaselSupport

extension DataDescription {
  /// The numbers of the classes that a person lists, separated by commas. A class is given by its name or by its
  /// number, counted from 0. A bare number counts as a number only if no class's name is one; `#2` is always a number,
  /// unless a class has that name.
  ///
  /// - Throws: `UserError` (usage) for an unknown name. The model checks the numbers.
  public func labels(_ text: String) throws -> [Int] {
    let numbers = Dictionary(
      classNames.enumerated().map { (Array($1.utf8), $0) }, uniquingKeysWith: { first, _ in first })
    let isNumbered = classNames.contains { Int($0) != nil }
    func label(_ name: String) -> Int? {
      if let label = numbers[Array(name.utf8)] ?? classNames.firstIndex(of: name) { return label }
      if name.hasPrefix("#"), let number = Int(name.dropFirst()) { return number }
      guard !isNumbered, let number = Int(name), String(number) == name else { return nil }
      return number
    }
    var parts = text.split(separator: ",", omittingEmptySubsequences: false)[...]
    // A name may contain commas, so the longest match wins.
    let most = 1 + (classNames.map { name in name.utf8.count { $0 == UInt8(ascii: ",") } }.max() ?? 0)
    var labels: [Int] = []
    while let first = parts.first {
      let found = (1...min(most, parts.count)).reversed().lazy.compactMap { count -> (count: Int, label: Int)? in
        let name = parts.prefix(count).joined(separator: ",")
        return (label(name) ?? label(name.trimmingCharacters(in: .whitespaces))).map { (count, $0) }
      }.first
      guard let found else {
        let name = first.trimmingCharacters(in: .whitespaces)
        let nearest = nearestName(to: name, among: classNames).map { "Did you mean \($0)? " } ?? ""
        let known = isNumbered ? "Known, by name: \(list(Array(classNames.indices)))." : "Known: \(numberedClasses)."
        throw UserError(
          .usage, "\(field: "label"): there is no class \(name.debugDescription)",
          hint: classNames.isEmpty ? "Its data have none." : nearest + known)
      }
      labels.append(found.label)
      parts = parts.dropFirst(found.count)
    }
    return labels
  }

  /// `0 cat, 1 dog`.
  public var numberedClasses: String {
    var numbered = self
    numbered.classNames = classNames.enumerated().map { "\($0) \($1)" }
    return numbered.list(Array(classNames.indices))
  }
}
