/// The candidate that a mistyped name most likely meant, or nil if none is close.
///
/// A candidate is close if at most a third of the letters (but at least two) are wrong, missing, superfluous or swapped
/// with their neighbour, or if the name is its beginning.
public func nearestName(to name: String, among candidates: some Sequence<String>) -> String? {
  let letters = Array(name.lowercased())
  guard !letters.isEmpty else { return nil }
  let limit = max(2, letters.count / 3)
  var best: (distance: Int, candidate: String)?
  for candidate in candidates.sorted() {
    let other = Array(candidate.lowercased())
    let isPrefix = letters.count >= 3 && other.starts(with: letters)
    // Names whose lengths differ too much need no comparing, however long they are.
    guard isPrefix || abs(letters.count - other.count) <= limit else { continue }
    let distance = isPrefix ? 1 : editDistance(letters, other)
    // A name of two letters is two edits away from every other name, so at least one letter must be right.
    guard distance <= limit, distance < max(letters.count, other.count) else { continue }
    if best.map({ distance < $0.distance }) ?? true { best = (distance, candidate) }
  }
  return best?.candidate
}

/// The number of insertions, deletions, substitutions and swaps of neighbours between two words (optimal string
/// alignment).
private func editDistance(_ a: [Character], _ b: [Character]) -> Int {
  var beforePrevious = [Int](repeating: 0, count: b.count + 1)
  var previous = Array(0...b.count)
  for i in a.indices {
    var current = [i + 1]
    for j in b.indices {
      var distance = min(previous[j + 1] + 1, current[j] + 1, previous[j] + (a[i] == b[j] ? 0 : 1))
      if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] {
        distance = min(distance, beforePrevious[j - 1] + 1)
      }
      current.append(distance)
    }
    (beforePrevious, previous) = (previous, current)
  }
  return previous[b.count]
}
