/// The candidate most like a misspelt name, if one is close enough to be meant: for “did you mean …?”.
///
/// Close enough is a third of the name's length in edits (insertion, deletion, substitution), two at least; upper and
/// lower case are the same. Of equally close candidates the first is returned.
public func nearest(to name: String, in candidates: [String]) -> String? {
  let limit = max(2, name.count / 3)
  let ranked = candidates.map { (name: $0, distance: editDistance($0.lowercased(), name.lowercased())) }
  return ranked.filter { $0.distance <= limit && $0.distance < $0.name.count }.min { $0.distance < $1.distance }?.name
}

/// Levenshtein's distance, one row of the table at a time.
func editDistance(_ first: String, _ second: String) -> Int {
  let second = Array(second)
  var row = Array(0...second.count)
  for (i, character) in first.enumerated() {
    var diagonal = row[0]
    row[0] = i + 1
    for (j, other) in second.enumerated() {
      let substituted = diagonal + (character == other ? 0 : 1)
      diagonal = row[j + 1]
      row[j + 1] = min(substituted, row[j] + 1, row[j + 1] + 1)
    }
  }
  return row[second.count]
}
